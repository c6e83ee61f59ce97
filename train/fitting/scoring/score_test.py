"""Scores the test side of a fold, once: after the selection is written, with the weights that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import json_bytes, read_json, write_csv, write_json
from emofuse.common.errors import damage_error
from emofuse.common.shapes import misfits
from emofuse.manifests.metrics.calibration import with_temperature
from emofuse.manifests.metrics.scores import confusion, goodness, recalls, scores
from emofuse.manifests.targets.multilabel import DEFAULT_THRESHOLD, THRESHOLD, set_recalls
from emofuse.manifests.targets.target import Target
from emofuse.train.data.batches import Statistics, TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import file_names, model_file
from emofuse.train.fitting.loop import TrainingResult, predict
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.scoring.prediction_table import Predictions, prediction_rows, rounded

SELECTION, CALIBRATION, RESULT = file_names.SELECTION, file_names.CALIBRATION, file_names.RESULT
PREDICTIONS, HISTORY, VALIDATION = file_names.PREDICTIONS, file_names.HISTORY, file_names.VALIDATION
WEIGHTS, CHECKPOINTS = file_names.WEIGHTS, file_names.CHECKPOINTS
UNSCORED = ".part"
"""The ending of weights of evaluation steps that are still to be scored: a temporary file, which no digest covers."""
SELECTION_SHAPE = {"step": int, "rule?": str, "validation": ({str: float}, None), "weights?": str}
REMEDY = "delete this folder, and the same command trains the fold again"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutSide:
    """The test side of a fold."""

    data: TaskData
    """Its statistics are replaced by those stored with the weights."""
    indices: Indices
    """[n], the test utterances."""
    ids: Sequence[str]
    """[n], their ids."""
    target: Target
    without: Sequence[str] = ()
    """Modalities: the same weights are also scored with each of them absent."""
    temperature: float | None = None
    """Fitted on validation: predictions.csv also gets the probabilities with it."""


def write_weights(folder: Path, recipe: ModelRecipe, result: TrainingResult, statistics: Statistics) -> None:
    """Write a fold's selected weights, and those of all evaluation steps if they were kept."""
    for step, state in result.checkpoints.items():
        path = folder / CHECKPOINTS / f"step-{step:06d}{UNSCORED}"
        path.parent.mkdir(exist_ok=True)
        model_file.save(path, recipe, state, statistics)
    model_file.save(folder / WEIGHTS, recipe, result.model.state_dict(), statistics)


def write_selection(folder: Path, result: TrainingResult, rule: str) -> None:
    """Write, after the weights, which step was selected and by which rule, and the digest of the weights, if any.

    Where memory did not suffice for a batch, or the training stopped early, that is written too.
    """
    found = {"utterances_at_once": result.micro_batch, "stopped": result.stopped}
    remarks = {name: value for name, value in found.items() if value is not None}
    weights = {"weights": digests.digest_of(folder / WEIGHTS)} if (folder / WEIGHTS).exists() else {}
    selection = {"step": result.step, "rule": rule, "validation": result.validation}
    write_json(folder / SELECTION, selection | weights | remarks)


def read_selection(folder: Path) -> dict[str, Any]:
    """The content of a fold's selection.json.

    Raises:
        DataError: It is damaged, or the fold's weights are not those that it names.
    """
    selection = read_json(folder / SELECTION)
    problems = misfits(selection, SELECTION_SHAPE, SELECTION) or weights_problems(folder, selection)
    if problems:
        raise damage_error(f"{folder} was altered or damaged", problems, REMEDY)
    return selection


def weights_problems(folder: Path, selection: Mapping[str, Any]) -> list[str]:
    """Weights that are missing, or are not those that were selected; version 0.1.0 recorded no digest."""
    recorded = selection.get("weights")
    if recorded is None:
        return []
    if not (folder / WEIGHTS).is_file():
        return [f"{WEIGHTS} is missing"]
    return [] if digests.digest_of(folder / WEIGHTS) == recorded else [f"{WEIGHTS} is not what {SELECTION} names"]


def score_test(folder: Path, side: HeldOutSide, about: dict[str, Any]) -> dict[str, Any]:
    """Score a fold's selected weights on its test side; writes predictions.csv, digests.json, then result.json.

    Args:
        about: What else is written to result.json: fold, utterances, seconds, ...

    Returns:
        The content of result.json.

    Raises:
        RuntimeError: The selection is not written yet, or the test side is scored already.
        DataError: The selection is damaged, or the weights are not those that it names.
    """
    if not (folder / SELECTION).exists():
        raise RuntimeError(f"{folder}: the test side must not be scored before {SELECTION} is written")
    if (folder / RESULT).exists():
        raise RuntimeError(f"{folder}: the test side is scored already")
    selection = read_selection(folder)
    weights, target = folder / WEIGHTS, side.target
    values = _values(weights, side.data, side.indices)
    truth = side.data.labels.cpu().numpy()[side.indices]
    found = rounded(target, truth, values, threshold_of(selection))
    without = {m: _values(weights, side.data.without(m), side.indices) for m in side.without}
    classes = len(target.classes)
    calibrated = None if side.temperature is None else with_temperature(values[:, :classes], side.temperature)
    rows = prediction_rows(side.ids, about["fold"], found, calibrated)
    selected = {key: selection[key] for key in ("step", "validation")}
    result = about | selected | score_results(found)
    if side.temperature is not None:
        result["temperature"] = side.temperature
    if without:
        result["without"] = {
            m: score_results(rounded(target, truth, v, threshold_of(selection)))["test"] for m, v in without.items()
        }
    write_csv(folder / PREDICTIONS, rows)
    _write_result(folder, result)
    return result


def threshold_of(selection: Mapping[str, Any]) -> float:
    """The probability from which a label is predicted, of the content of a fold's selection.json."""
    return float((selection["validation"] or {}).get(THRESHOLD, DEFAULT_THRESHOLD))


def write_validation(
    folder: Path, target: Target, data: TaskData, indices: Indices, ids: Sequence[str], fold: int
) -> None:
    """Write the predictions of a fold's selected weights on its validation side.

    Args:
        folder: Of the fold; has its weights and its selection.
        target: What is predicted.
        data: Features and true values; the statistics stored with the weights are used.
        indices: [n], the validation utterances.
        ids: [n], their ids.
        fold: Its number.

    Raises:
        DataError: The selection is damaged, or the weights are not those that it names.
    """
    threshold = threshold_of(read_selection(folder))
    values, truth = _values(folder / WEIGHTS, data, indices), data.labels.cpu().numpy()[indices]
    found = rounded(target, truth, values, threshold)
    write_csv(folder / VALIDATION, prediction_rows(ids, fold, found))


def _write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the digests of the fold's files, its result among them, and then the result: the fold is done."""
    files = {name: digests.digest_of(folder / name) for name in digests.files_in(folder)}
    digests.write_digest_file(folder, files | {RESULT: digests.digest_of_bytes(json_bytes(result))})
    write_json(folder / RESULT, result)


def score_results(found: Predictions) -> dict[str, Any]:
    """What result.json says of predictions."""
    target, classes = found.target, found.target.classes
    if not target.has_class:
        recall = set_recalls(found.truth > 0, found.sets) if found.sets is not None else []
        of_class = dict(zip(classes, recall, strict=True)) if recall else {}
        return {"test": found.kind_scores(), "recall": of_class, "confusion": [], "predicts_only": None}
    labels, predictions = found.labels, found.predicted
    matrix = confusion(labels, predictions, len(classes))
    return {
        "test": scores(labels, predictions) | found.kind_scores(),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
        "predicts_only": classes[predictions[0]] if len(set(predictions.tolist())) == 1 else None,
    }


def score_all_checkpoints(
    folder: Path, target: Target, data: TaskData, indices: Indices, metric: str, keep: bool = False
) -> dict[str, Any]:
    """Score every evaluation step's weights on the test side: how optimistic selecting on test would be.

    Writes optimism.json; gives the step and the scores of the best by `metric`. Then the weights are removed, unless
    `keep`: all but the selected ones serve nothing else.

    Raises:
        RuntimeError: The honest score is not written yet.
    """
    if not (folder / RESULT).exists():
        raise RuntimeError(f"{folder}: checkpoints are scored on test only after {RESULT} is written")
    weights, found = sorted((folder / CHECKPOINTS).glob(f"*{UNSCORED}")), folder / "optimism.json"
    if not found.exists():  # an earlier call may have scored them, and ended while it removed them
        truth, threshold, rows = data.labels.cpu().numpy()[indices], threshold_of(read_selection(folder)), []
        for path in weights:
            scored = score_results(rounded(target, truth, _values(path, data, indices), threshold))["test"]
            rows.append({"step": int(path.stem.removeprefix("step-"))} | scored)
        best = max(rows, key=lambda row: goodness(metric, row[metric]))
        write_json(found, {"warning": "chosen on test: never a score", "best": best, "checkpoints": rows})
    for path in weights:
        if keep:
            path.replace(path.with_suffix(".safetensors"))
        else:
            path.unlink()
    if not keep and weights:
        (folder / CHECKPOINTS).rmdir()
    best_row: dict[str, Any] = read_json(found, ("best",))["best"]
    return best_row


def _values(weights: Path, data: TaskData, indices: Indices) -> NDArray[np.float32]:
    """[n, K]."""
    model, _, statistics = model_file.load(weights, data.labels.device)
    return predict(model, data.with_statistics(statistics), indices)[0]

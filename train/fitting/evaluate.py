"""The test side of a fold, touched once: after the selection has been written down, with the weights it names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.run_folder import read_json, write_csv, write_json
from emofuse.manifests.metrics import confusion, recalls, scores
from emofuse.train.data.batches import Statistics, TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import checkpoint
from emofuse.train.fitting.checkpoint import ModelRecipe
from emofuse.train.fitting.loop import Trained, predict

SELECTION, RESULT = "selection.json", "result.json"


def write_weights(folder: Path, recipe: ModelRecipe, trained: Trained, statistics: Statistics) -> None:
    """Write a fold's weights, all looks' too, if kept."""
    for step, state in trained.checkpoints.items():
        path = folder / "checkpoints" / f"step-{step:06d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        checkpoint.save(path, recipe, state, statistics)
    checkpoint.save(folder / "model.safetensors", recipe, trained.model.state_dict(), statistics)


def write_selection(folder: Path, trained: Trained, rule: str) -> None:
    """Write, after the weights, which step was selected and by what rule."""
    pieces = {} if trained.at_once is None else {"utterances_at_once": trained.at_once}
    write_json(folder / SELECTION, {"step": trained.step, "rule": rule, "validation": trained.validation, **pieces})


def test(
    folder: Path,
    corpus: TaskData,
    indices: Indices,
    ids: Sequence[str],
    classes: Sequence[str],
    about: dict[str, Any],
    without: Sequence[str],
) -> dict[str, Any]:
    """Score the selected weights of a fold on its test side and write predictions.csv, then result.json.

    Args:
        corpus: The data; its statistics are replaced by those beside the weights.
        indices: The test utterances, and `ids` their names.
        about: What is recorded with the result.
        without: Modalities: the same weights are scored with each of them absent, too.

    Raises:
        RuntimeError: No selection has been written down, or the fold has been tested already.
    """
    if not (folder / SELECTION).exists():
        raise RuntimeError(f"{folder}: the test side is not touched before {SELECTION} is written")
    if (folder / RESULT).exists():
        raise RuntimeError(f"{folder}: the test side has been scored already")
    selection = read_json(folder / SELECTION)
    weights = folder / "model.safetensors"
    probabilities = _probabilities(weights, corpus, indices)
    labels, found = corpus.labels.cpu().numpy()[indices], probabilities.argmax(1)
    absent = {m: _probabilities(weights, corpus.lacking(m), indices).argmax(1) for m in without}
    rows = [
        {"id": id, "fold": about["fold"], "label": classes[label], "prediction": classes[guess]}
        | {f"p_{c}": f"{p:.6f}" for c, p in zip(classes, row, strict=True)}
        for id, label, guess, row in zip(ids, labels, found, probabilities, strict=True)
    ]
    matrix = confusion(labels, found, len(classes))
    result = about | {
        "step": selection["step"],
        "validation": selection["validation"],
        "test": scores(labels, found),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
        "predicts_only": classes[found[0]] if len(set(found.tolist())) == 1 else None,
    }
    if absent:
        result["without"] = {m: scores(labels, guesses) for m, guesses in absent.items()}
    write_csv(folder / "predictions.csv", rows)
    write_json(folder / RESULT, result)
    return result


def optimistic(folder: Path, corpus: TaskData, indices: Indices, metric: str) -> dict[str, Any]:
    """What choosing the checkpoint on test would have given; refused before the honest score is written."""
    if not (folder / RESULT).exists():
        raise RuntimeError(f"{folder}: checkpoints are scored on test only after {RESULT} is written")
    labels = corpus.labels.cpu().numpy()[indices]
    rows = [
        {"step": int(path.stem.removeprefix("step-"))} | scores(labels, _probabilities(path, corpus, indices).argmax(1))
        for path in sorted((folder / "checkpoints").glob("*.safetensors"))
    ]
    best = max(rows, key=lambda row: row[metric])
    write_json(
        folder / "optimism.json", {"warning": "chosen on test: never a score", "best": best, "checkpoints": rows}
    )
    return best


def _probabilities(path: Path, corpus: TaskData, indices: Indices) -> NDArray[np.float32]:
    model, _, statistics = checkpoint.load(path, corpus.labels.device)
    return predict(model, corpus.using(statistics), indices)[0]

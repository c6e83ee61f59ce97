"""Checks a run folder: its files are those that `fit` left, and its scores are those of its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import DataError
from emofuse.common.shapes import misfits
from emofuse.manifests.metrics.scores import mean_and_deviation, recalls
from emofuse.train.fitting import file_names
from emofuse.train.fitting.fold_check import FOLD_SHAPE, fold_score_problems
from emofuse.train.fitting.scoring.prediction_table import RATED, columns
from emofuse.train.fitting.scoring.recorded_scores import differences, prediction_problems, recompute
from emofuse.train.fitting.scoring.recorded_target import TARGET_SHAPE, target_of

CONFIG, METRICS, PREDICTIONS = FILES = file_names.RUN_FILES
"""The files without which a folder is not a run."""
_SCORES = {str: (float, None)}  # None: undefined for these predictions, such as AUROC without a class
_CONFIG_SHAPE = {"run": {"folds?": [int]}, "calls?": [dict], "excluded?": {str: object}}
_METRICS_SHAPE = {
    "protocol": str,
    "model": str,
    "classes": [str],
    "target?": TARGET_SHAPE,
    "metrics": [str],
    "definitions": {str: str},
    "reduced?": {"found?": int, "expected?": int},
    "mean": _SCORES,
    "std": _SCORES,
    "pooled": _SCORES,
    "interval?": {"unit": str, "units": int},
    "recall": _SCORES,
    "confusion": [[int]],
    "limit?": int,
    "short_training?": {"steps?": int, "epochs?": float, "preset": float, "option": str},
    "parameters?": int,
    "weights?": {str: str},
    "evaluation?": {"run": str},
    "seed?": int,
    "seeds?": [int],
    "folds?": [FOLD_SHAPE],
    "per_seed?": {str: {"mean": _SCORES, "pooled": _SCORES, "one_class_folds": [int]}},
}
_LARGE = ".safetensors"


def run_problems(folder: Path, *, all_files: bool = False, rewritten: str = "") -> list[str]:
    """Everything that is wrong with a finished run folder; empty if nothing is.

    Args:
        folder: The run folder, with all of `FILES`.
        all_files: Also compare the digests of weights, and name files that were added.
        rewritten: A file that the caller writes again: it may be missing or altered.
    """
    try:
        problems = _file_problems(folder, all_files, rewritten)
    except DataError as error:
        problems = [str(error)]
    try:
        config, metrics = read_json(folder / CONFIG), read_json(folder / METRICS)
        has_digests = "weights" in metrics or "evaluation" in metrics  # what version 0.1.0 wrote has neither
        if has_digests and not (folder / digests.NAME).exists():
            problems.append(f"{digests.NAME} is missing")
        problems += misfits(config, _CONFIG_SHAPE, CONFIG)
        wrong = misfits(metrics, _METRICS_SHAPE, METRICS) or _inconsistencies(metrics)
        problems += wrong or _score_problems(folder, metrics)
        for seed in [] if wrong else metrics.get("seeds", []):
            problems += _seed_folder_problems(folder / f"seed_{seed}", all_files)
    except DataError as error:
        problems.append(str(error))
    return problems


def _seed_folder_problems(folder: Path, all_files: bool) -> list[str]:
    """What is wrong with the folder of one of several seeds, where there is one."""
    if not folder.exists():
        return []
    missing = [f"{folder.name}/{name} is missing" for name in FILES if not (folder / name).is_file()]
    return missing or [f"{folder.name}: {problem}" for problem in run_problems(folder, all_files=all_files)]


def _file_problems(folder: Path, all_files: bool, rewritten: str) -> list[str]:
    """Files that were altered or are missing; a run of version 0.1.0 has no digests."""
    recorded = digests.read_digests(folder)
    if recorded is None:
        return []
    recorded.pop(rewritten, None)
    missing = [f"{name} is missing" for name in recorded if not (folder / name).is_file()]
    present = [n for n in recorded if (folder / n).is_file() and (all_files or not n.endswith(_LARGE))]
    problems = missing + digests.altered_files(folder, recorded, present)
    if all_files:
        problems += [f"{name} was added" for name in digests.files_in(folder) if name not in recorded]
    return problems


def _inconsistencies(metrics: Mapping[str, Any]) -> list[str]:
    """What is wrong with a metrics.json whose values have the right types."""
    names, classes = metrics["metrics"], metrics["classes"]
    parts = {key: metrics[key] for key in ("definitions", "mean", "std", "pooled")}
    parts |= {f"folds[{i}].test": fold["test"] for i, fold in enumerate(metrics.get("folds", []))}
    problems = [f"{METRICS}: {key} has no {n}" for key, part in parts.items() for n in names if n not in part]
    if "seeds" not in metrics and not ("seed" in metrics and "folds" in metrics):
        problems.append(f"{METRICS} has neither seeds nor the folds of one seed")
    if "seeds" in metrics and [str(s) for s in metrics["seeds"]] != list(metrics.get("per_seed", {})):
        problems.append(f"{METRICS}: per_seed is not of seeds {metrics['seeds']}")
    if len(set(classes)) < len(classes) or not (classes or "target" in metrics):
        problems.append(f"{METRICS}: the classes are not different names")
    numbers = [fold["fold"] for fold in metrics.get("folds", [])]
    if len(set(numbers)) < len(numbers):
        problems.append(f"{METRICS}: two folds have the same number")
    return problems


def _score_problems(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Predictions that cannot be, and scores that are not theirs."""
    target, several = target_of(metrics), "seeds" in metrics
    rows = read_csv(folder / PREDICTIONS, (*columns(target), *(["seed"] if several else [])))
    problems = [f"{PREDICTIONS}: {problem}" for problem in prediction_problems(rows, target)]
    if not rows:
        problems.append(f"{PREDICTIONS} has no predictions")
    if problems:
        return problems
    return _seeds_problems(metrics, rows) if several else _one_seed_problems(metrics, rows)


def _one_seed_problems(metrics: Mapping[str, Any], rows: Sequence[dict[str, str]]) -> list[str]:
    target, folds, problems = target_of(metrics), metrics["folds"], []
    by_fold = _grouped(rows, "fold")
    for fold in folds:
        problems += fold_score_problems(fold, by_fold.pop(str(fold["fold"]), []), target, f"fold {fold['fold']}")
    if by_fold:
        problems.append(f"{PREDICTIONS} has predictions of fold {', '.join(by_fold)}, {METRICS} has no such fold")
    if problems or not folds:
        return problems
    found = recompute(target, rows)
    problems += _spread_problems(metrics, [fold["test"] for fold in folds], "folds")
    problems += differences(metrics["pooled"], found.scores, "pooled")
    problems += differences(metrics["recall"], found.recall, "recall")
    if metrics["confusion"] != found.confusion.tolist():
        problems.append(f"{METRICS}: the confusion matrix is not that of the predictions")
    return problems


def _seeds_problems(metrics: Mapping[str, Any], rows: Sequence[dict[str, str]]) -> list[str]:
    """The same for several seeds: each seed's scores are checked in its own folder too, where it has one."""
    target, problems = target_of(metrics), list[str]()
    classes = target.classes if target.has_class else ()
    by_seed, per_seed = _grouped(rows, "seed"), metrics["per_seed"]
    if list(by_seed) != list(per_seed):
        return [f"{PREDICTIONS} is of seeds {', '.join(by_seed)}, expected {', '.join(per_seed)}"]
    rated = [c for c in columns(target) if c == "label" or c.startswith(RATED)]
    tested = {
        seed: {(row["id"], row["fold"], *(row[c] for c in rated)) for row in of_seed}
        for seed, of_seed in by_seed.items()
    }
    first = next(iter(tested))
    problems += [
        f"{PREDICTIONS}: seed {seed} does not test the utterances of seed {first}, with their labels and folds"
        for seed, tasks in tested.items()
        if tasks != tested[first]
    ]
    matrix = np.zeros((len(classes),) * 2, np.int64)
    for seed, of_seed in by_seed.items():
        found = recompute(target, of_seed)
        folds = [recompute(target, f).scores for f in _grouped(of_seed, "fold").values()]
        problems += differences(per_seed[seed]["mean"], mean_and_deviation(folds)[0], f"seed {seed}, mean")
        problems += differences(per_seed[seed]["pooled"], found.scores, f"seed {seed}, pooled")
        matrix += found.confusion
    problems += _spread_problems(metrics, [seed["mean"] for seed in per_seed.values()], "seeds")
    problems += differences(
        metrics["pooled"], mean_and_deviation([s["pooled"] for s in per_seed.values()])[0], "pooled"
    )
    if classes:
        problems += differences(metrics["recall"], dict(zip(classes, recalls(matrix), strict=True)), "recall")
    if metrics["confusion"] != matrix.tolist():
        problems.append(f"{METRICS}: the confusion matrix is not that of the predictions")
    return problems


def _spread_problems(metrics: Mapping[str, Any], parts: Sequence[Mapping[str, float | None]], over: str) -> list[str]:
    mean, deviation = mean_and_deviation(parts)
    problems = differences(metrics["mean"], mean, f"mean over {over}")
    return problems + differences(metrics["std"], deviation, f"deviation over {over}")


def _grouped(rows: Sequence[dict[str, str]], column: str) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups

"""Checks a fold that an earlier call trained and scored, before its results are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import DataError, damage_error
from emofuse.common.shapes import misfits
from emofuse.manifests.targets.target import Target
from emofuse.train.fitting.scoring.prediction_table import columns
from emofuse.train.fitting.scoring.recorded_scores import differences, prediction_problems, recompute
from emofuse.train.fitting.scoring.score_test import (
    PREDICTIONS,
    REMEDY,
    RESULT,
    SELECTION,
    SELECTION_SHAPE,
    weights_problems,
)

_SCORES = {str: float}
FOLD_SHAPE = {
    "fold": int,
    "name": str,
    "step": int,
    "seconds": float,
    "utterances": {"test": int},
    "validation?": (_SCORES, None),
    "test": {str: (float, None)},
    "recall": {str: (float, None)},
    "confusion": [[int]],
    "predicts_only": (str, None),
}
"""result.json of a fold, which is also its entry in the `folds` of metrics.json."""


def check_fold(folder: Path, target: Target, ids: Sequence[str] | None = None) -> None:
    """Check a scored fold: its digests, and its scores against its predictions.

    Args:
        folder: The fold's folder.
        target: What is predicted.
        ids: The fold's test utterances, if they are known.

    Raises:
        DataError: Names everything that was altered; a fold that version 0.1.0 wrote has no digests.
    """
    problems = fold_problems(folder, target, ids)
    if problems:
        raise damage_error(f"{folder} was altered or damaged", problems, REMEDY)


def fold_problems(folder: Path, target: Target, ids: Sequence[str] | None = None) -> list[str]:
    """What `check_fold` raises, as a list."""
    problems = []
    try:
        recorded = digests.read_digests(folder)
        problems += digests.altered_files(folder, recorded) if recorded is not None else []
        problems += _content_problems(folder, target, ids)
    except DataError as error:
        problems.append(str(error))
    return problems


def _content_problems(folder: Path, target: Target, ids: Sequence[str] | None) -> list[str]:
    result, selection = read_json(folder / RESULT), read_json(folder / SELECTION)
    rows = read_csv(folder / PREDICTIONS, columns(target))
    problems = [*misfits(result, FOLD_SHAPE, RESULT), *misfits(selection, SELECTION_SHAPE, SELECTION)]
    problems += [f"{PREDICTIONS}: {problem}" for problem in prediction_problems(rows, target)]
    if problems:
        return problems
    if ids is not None and [row["id"] for row in rows] != list(ids):
        problems.append(f"{PREDICTIONS} is not of the fold's {len(ids)} test utterances")
    for key in ("step", "validation"):
        if result.get(key) != selection[key]:
            problems.append(f"{RESULT}: {key} is {result.get(key)}, {SELECTION} has {selection[key]}")
    problems += weights_problems(folder, selection)
    return problems + fold_score_problems(result, rows, target, RESULT)


def fold_score_problems(
    result: dict[str, Any], rows: Sequence[dict[str, str]], target: Target, where: str
) -> list[str]:
    """Where a fold's recorded results differ from its predictions.

    Args:
        result: Of the shape `FOLD_SHAPE`.
        rows: Its rows of predictions.csv, without problems.
        target: What is predicted.
        where: What the results are called in the messages.
    """
    if result["utterances"]["test"] != len(rows) or not rows:
        return [f"{where}: {result['utterances']['test']} test utterances, but {len(rows)} predictions"]
    found = recompute(target, rows)
    problems = differences(result["test"], found.scores, where)
    problems += differences(result["recall"], found.recall, f"{where}, recall")
    if result["confusion"] != found.confusion.tolist():
        problems.append(f"{where}: the confusion matrix is not that of the predictions")
    return problems

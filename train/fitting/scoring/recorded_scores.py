"""Scores recomputed from predictions, and where recorded ones differ from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.console import plural
from emofuse.manifests.metrics.scores import Confusion, Labels, confusion, recalls, scores_of
from emofuse.manifests.targets.multilabel import set_recalls
from emofuse.manifests.targets.target import LABEL_SEPARATOR, Target
from emofuse.train.fitting.scoring.prediction_table import PREDICTED, RATED, columns, read_predictions

COLUMNS = ("id", "fold", "label", "prediction")
"""The columns that every predictions.csv has, beside `p_CLASS` of each class."""
TOLERANCE = 1e-9
"""How far a recorded score may be from the recomputed one: rounding of sums in another order."""
ROUNDING = 2e-6
"""How far the probability of the prediction may be below the largest one: the file has six decimals."""
SHOWN = 5
"""How many problems of one kind are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What a set of predictions gives."""

    confusion: Confusion
    scores: dict[str, float]
    recall: dict[str, float | None]


def recompute(target: Target, rows: Sequence[Mapping[str, str]]) -> Recomputed:
    """Scores, recalls and confusion matrix of rows without problems."""
    classes = target.classes
    if not target.has_class:
        found = read_predictions(target, rows)
        recall = set_recalls(found.truth > 0, found.sets) if found.sets is not None else []
        return Recomputed(
            confusion=np.zeros((0, 0), np.int64),
            scores=found.kind_scores(),
            recall=dict(zip(classes if recall else (), recall, strict=True)),
        )
    matrix = confusion(*indices_of(rows, classes), len(classes))
    values = {name: float(value[0]) for name, value in scores_of(matrix[None]).items()}
    if target.kind != "classes":
        values |= read_predictions(target, rows).kind_scores()
    return Recomputed(confusion=matrix, scores=values, recall=dict(zip(classes, recalls(matrix), strict=True)))


def prediction_problems(rows: Sequence[Mapping[str, str]], target: Target) -> list[str]:
    """What is wrong with the rows of a predictions.csv: labels, numbers, and predictions that are not the likeliest.

    Args:
        rows: With the `columns` of the target.
        target: What is predicted.
    """
    found: dict[str, list[str]] = {}
    classes, several = target.classes, target.kind == "multilabel"
    numbers = [c for c in columns(target) if c.startswith((RATED, PREDICTED))]

    def note(kind: str, row: Mapping[str, str], value: str) -> None:
        found.setdefault(kind, []).append(f"{row['id'][:60]!r}: {value[:60]!r}")

    for row in rows:
        for column in ("label", "prediction") if classes else ():
            named = [n for n in row[column].split(LABEL_SEPARATOR) if n] if several else [row[column]]
            if not set(named) <= set(classes):
                note(f"a {column} that is not a class", row, row[column])
        for column in numbers:
            if not _is_number(row[column]):
                note(f"{column} that is not a number", row, row[column])
        for column in [name for name in ("fold", "seed") if name in row]:
            if not (row[column].isascii() and row[column].isdecimal()):
                note(f"a {column} that is not a number", row, row[column])
        values = _probabilities(row, classes)
        if values is None:
            note("probabilities that are not numbers from 0 to 1", row, ", ".join(row[f"p_{c}"] for c in classes))
        elif target.has_class and _is_not_likeliest(row["prediction"], values, classes):
            note("a prediction that is not the class of the largest probability", row, row["prediction"])
    repeated = len(rows) - len({(row.get("seed"), row["id"]) for row in rows})
    problems = [_listed(kind, named) for kind, named in found.items()]
    return problems + ([f"{plural(repeated, 'row')} with the id of another"] if repeated else [])


def _is_not_likeliest(prediction: str, values: NDArray[np.float64], classes: Sequence[str]) -> bool:
    return prediction in classes and bool(values[classes.index(prediction)] < values.max() - ROUNDING)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _probabilities(row: Mapping[str, str], classes: Sequence[str]) -> NDArray[np.float64] | None:
    try:
        values = np.array([float(row[f"p_{c}"]) for c in classes])
    except ValueError:
        return None
    return values if np.isfinite(values).all() and (values >= 0).all() and (values <= 1 + ROUNDING).all() else None


def _listed(kind: str, named: Sequence[str]) -> str:
    more = f", and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return f"{kind}: {', '.join(named[:SHOWN])}{more}"


def indices_of(rows: Sequence[Mapping[str, str]], classes: Sequence[str]) -> tuple[Labels, Labels]:
    """The class numbers of labels [n] and predictions [n] of rows without problems."""
    index = {c: i for i, c in enumerate(classes)}
    labels, predicted = ([index[row[column]] for row in rows] for column in ("label", "prediction"))
    return np.array(labels, np.int64), np.array(predicted, np.int64)


def differences(recorded: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> list[str]:
    """Where recorded numbers differ from the recomputed ones: `fold 1: ua is 0.999, its predictions give 0.512`.

    Args:
        recorded: Name -> number or None.
        expected: Those that can be recomputed; a name that only one of the two has is not compared.
        where: What the numbers are of.
    """
    return [
        f"{where}: {name} is {_number(recorded[name])}, the predictions give {_number(value)}"
        for name, value in expected.items()
        if name in recorded and not _equal(recorded[name], value)
    ]


def _equal(recorded: float | None, expected: float | None) -> bool:
    if recorded is None or expected is None:
        return recorded is expected
    return abs(recorded - expected) <= TOLERANCE


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"

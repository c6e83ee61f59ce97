"""predictions.csv: the true and the predicted values of each test utterance, written and read.

Every table has `id` and `fold`. Where the target has one class an utterance, and where it has several labels, there are
`label`, `prediction` (several names joined by commas) and `p_CLASS` of each class; of votes also `rated_CLASS`, their
shares; of ratings `rated_NAME` and `predicted_NAME` of each dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.targets.distribution import shares
from emofuse.manifests.targets.scoring import LabelSets, kind_scores
from emofuse.manifests.targets.target import LABEL_SEPARATOR, Target, Truth, class_numbers

PROBABILITY, CALIBRATED, RATED, PREDICTED = "p_", "calibrated_p_", "rated_", "predicted_"
"""Starts of columns."""
DECIMALS = 6
"""Of every number in the table; scores of shares and ratings are those of the rounded numbers."""

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The true and predicted values of n test utterances, by one model or the mean of several."""

    target: Target
    truth: Truth
    """Of votes their shares."""
    values: NDArray[np.float64]
    """[n, K]."""
    predicted: NDArray[np.int64]
    """Predicted class numbers [n]; zeros without one class an utterance."""
    sets: LabelSets | None = None
    """[n, C], of several labels: whether each one is predicted."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """True class numbers [n]; zeros without one class an utterance."""
        return class_numbers(self.target, self.truth)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the classes [n, C]."""
        return self.values[:, : len(self.target.classes)]

    def where(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Those for which `chosen` [n] is true."""
        return Predictions(
            target=self.target,
            truth=self.truth[chosen],
            values=self.values[chosen],
            predicted=self.predicted[chosen],
            sets=None if self.sets is None else self.sets[chosen],
        )

    def kind_scores(self) -> dict[str, float]:
        """The scores that only this kind of target has."""
        return kind_scores(self.target, self.truth, self.values, self.sets)


def rounded(target: Target, truth: Truth, values: NDArray[Any], threshold: float) -> Predictions:
    """Predictions as the table holds them, from those of a model.

    Args:
        target: What is predicted.
        truth: As `Truth` says.
        values: [n, K].
        threshold: Of several labels.
    """
    if target.kind == "distribution":
        truth = np.round(shares(truth.astype(np.float64)), DECIMALS)
    if target.dimensions:
        truth = np.round(truth.astype(np.float64), DECIMALS)
    own = values[:, : len(target.classes)]
    exact: NDArray[np.float64] = values.astype(np.float64)
    return Predictions(
        target=target,
        truth=truth,
        values=exact.round(DECIMALS),
        predicted=own.argmax(1) if target.has_class else np.zeros(len(values), np.int64),
        sets=own >= threshold if target.kind == "multilabel" else None,
    )


def columns(target: Target) -> tuple[str, ...]:
    """The columns that the table of a target has, without the calibrated probabilities."""
    named = ("id", "fold", "label", "prediction") if target.classes else ("id", "fold")
    rated = target.classes if target.kind == "distribution" else tuple(d.name for d in target.dimensions)
    return (
        *named,
        *(f"{PROBABILITY}{c}" for c in target.classes),
        *(f"{RATED}{name}" for name in rated),
        *(f"{PREDICTED}{d.name}" for d in target.dimensions),
    )


def prediction_rows(
    ids: Sequence[str], fold: int, found: Predictions, calibrated: NDArray[Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of n test utterances.

    Args:
        ids: [n].
        fold: The fold that tests them.
        found: Their predictions.
        calibrated: The probabilities of the classes with a temperature [n, C], where one was fitted.
    """
    target, classes = found.target, found.target.classes
    rows: list[dict[str, Any]] = [{"id": id, "fold": fold} for id in ids]
    if classes:
        for row, label, prediction in zip(rows, *_names(found), strict=True):
            row |= {"label": label, "prediction": prediction}
        _add(rows, PROBABILITY, classes, found.probabilities)
    if calibrated is not None:
        _add(rows, CALIBRATED, classes, calibrated)
    if target.kind == "distribution":
        _add(rows, RATED, classes, found.truth)
    if target.dimensions:
        names = [d.name for d in target.dimensions]
        _add(rows, RATED, names, found.truth[:, -len(names) :])
        _add(rows, PREDICTED, names, found.values[:, len(classes) :])
    return rows


def _names(found: Predictions) -> tuple[list[str], list[str]]:
    """The text of `label` and of `prediction` of each utterance."""
    classes = found.target.classes
    if found.sets is not None:
        return _joined(found.truth > 0, classes), _joined(found.sets, classes)
    return [classes[k] for k in found.labels.tolist()], [classes[k] for k in found.predicted.tolist()]


def _joined(sets: LabelSets, classes: Sequence[str]) -> list[str]:
    return [LABEL_SEPARATOR.join(classes[c] for c in np.flatnonzero(row).tolist()) for row in sets]


def _add(rows: Iterable[dict[str, Any]], start: str, names: Sequence[str], values: NDArray[Any]) -> None:
    for row, of_row in zip(rows, values.tolist(), strict=True):
        row |= {f"{start}{name}": f"{value:.{DECIMALS}f}" for name, value in zip(names, of_row, strict=True)}


def read_predictions(target: Target, rows: Sequence[Row]) -> Predictions:
    """The predictions of rows without problems."""
    classes, names = target.classes, [d.name for d in target.dimensions]
    values = np.column_stack([numbers(rows, PROBABILITY, classes), numbers(rows, PREDICTED, names)])
    index, sets, none = {c: i for i, c in enumerate(classes)}, None, np.zeros(len(rows), np.int64)
    predicted = np.array([index[row["prediction"]] for row in rows], np.int64) if target.has_class else none
    truth: Truth
    match target.kind:
        case "distribution":
            truth = numbers(rows, RATED, classes)
        case "multilabel":
            there, sets = (_sets([row[column] for row in rows], index) for column in ("label", "prediction"))
            truth = there.astype(np.float64)
        case "dimensions":
            truth = numbers(rows, RATED, names)
        case _:
            labels = np.array([index[row["label"]] for row in rows], np.int64)
            truth = np.column_stack([labels, numbers(rows, RATED, names)]) if names else labels
    return Predictions(target=target, truth=truth, values=values, predicted=predicted, sets=sets)


def numbers(rows: Sequence[Row], start: str, names: Sequence[str]) -> NDArray[np.float64]:
    """The values [n, C] of the columns of C names."""
    return np.array([[float(row[f"{start}{c}"]) for c in names] for row in rows]).reshape(len(rows), len(names))


def _sets(texts: Sequence[str], index: Mapping[str, int]) -> LabelSets:
    found = np.zeros((len(texts), len(index)), bool)
    for row, text in zip(found, texts, strict=True):
        row[[index[name] for name in text.split(LABEL_SEPARATOR) if name]] = True
    return found

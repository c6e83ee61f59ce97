"""Scores: WA, UA, F1 and MCC from scikit-learn, and their confidence intervals from a bootstrap over whole units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.resampling import ResamplingUnits

METRICS = {
    "wa": "WA, accuracy over all utterances",
    "ua": "UA, mean of the per-class recalls",
    "wf1": "W-F1, F1 per class weighted by its number of utterances",
    "macro_f1": "macro F1, unweighted mean of F1 per class",
    "micro_f1": "micro F1, equal to accuracy where each utterance has one label",
}
"""Metric -> its definition; `scores` computes them."""

Labels = NDArray[np.int64]
Confusion = NDArray[np.int64]

RESAMPLES = 2000
LEVEL = 0.95


def scores(labels: Labels, predictions: Labels) -> dict[str, float]:
    """wa, ua, wf1, macro_f1 and micro_f1, each in 0..1.

    UA averages recall over the classes among `labels`; the F1 scores average over those among labels or predictions.

    Args:
        labels: True class numbers [n].
        predictions: Predicted class numbers [n].
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    def f1(average: str) -> float:
        return float(f1_score(labels, predictions, average=average, zero_division=0))

    present = np.unique(labels)
    return {
        "wa": float(accuracy_score(labels, predictions)),
        "ua": float(recall_score(labels, predictions, labels=present, average="macro", zero_division=0)),
        "wf1": f1("weighted"),
        "macro_f1": f1("macro"),
        "micro_f1": f1("micro"),
    }


def confusion(labels: Labels, predictions: Labels, classes: int) -> Confusion:
    """[C, C] counts: rows are labels, columns predictions."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def recalls(matrix: Confusion) -> list[float | None]:
    """Recall of each class; None for a class without utterances."""
    return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


def scores_of(matrices: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """`scores` from confusion matrices [R, C, C], for many resamples at once."""
    hit = np.diagonal(matrices, axis1=1, axis2=2).astype(np.float64)
    true, predicted = matrices.sum(2), matrices.sum(1)
    total = np.maximum(true.sum(1), 1)
    recall = np.divide(hit, true, out=np.zeros_like(hit), where=true > 0)
    f1 = np.divide(2 * hit, true + predicted, out=np.zeros_like(hit), where=true + predicted > 0)
    accuracy = hit.sum(1) / total
    return {
        "wa": accuracy,
        "ua": recall.sum(1) / np.maximum((true > 0).sum(1), 1),
        "wf1": (f1 * true).sum(1) / total,
        "macro_f1": f1.sum(1) / np.maximum((true + predicted > 0).sum(1), 1),
        "micro_f1": accuracy,
    }


def intervals(
    labels: Labels, predictions: Labels, classes: int, units: ResamplingUnits, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile bootstrap intervals: units are drawn with replacement, 2000 times.

    Args:
        labels: True class numbers [n].
        predictions: Predicted class numbers [n], or [S, n] of S seeds, whose scores are averaged in each resample.
        classes: The number of classes.
        units: What is drawn, for the n utterances.
        seed: Seed of the draws.
    """
    unit = units.smallest
    draws = units.unit_weights(RESAMPLES, np.random.default_rng(seed))
    resampled = []
    for predicted in np.atleast_2d(predictions):
        cells = np.zeros((draws.shape[1], classes**2), np.int64)
        np.add.at(cells, (unit, labels * classes + predicted), 1)
        resampled.append(scores_of((draws @ cells).reshape(RESAMPLES, classes, classes)))
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    mean = {name: np.mean([r[name] for r in resampled], axis=0) for name in resampled[0]}
    return {name: (float(low), float(high)) for name, (low, high) in _quantiles(mean, edges).items()}


def _quantiles(values: Mapping[str, NDArray[np.float64]], edges: list[float]) -> dict[str, NDArray[np.float64]]:
    return {name: np.quantile(v, edges) for name, v in values.items()}


def mean_and_deviation(rows: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float | None]]:
    """Per score: mean over rows (folds, seeds) and sample standard deviation (n - 1), None for a single row."""
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    mean = {name: float(v.mean()) for name, v in table.items()}
    return mean, {name: float(v.std(ddof=1)) if len(v) > 1 else None for name, v in table.items()}

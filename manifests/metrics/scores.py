"""Scores: WA, UA, F1 and MCC from counts, and their confidence intervals from a bootstrap over whole units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UnknownNameError
from emofuse.common.problems import Problems
from emofuse.manifests.metrics.resampling import ResamplingUnits
from emofuse.manifests.metrics.unit_counts import unit_cells, weighted_sums

LABEL_METRICS = {
    "wa": "WA, accuracy over all utterances",
    "ua": "UA, mean of the per-class recalls",
    "wf1": "W-F1, F1 per class weighted by its number of utterances",
    "macro_f1": "macro F1, unweighted mean of F1 per class",
    "micro_f1": "micro F1, equal to accuracy where each utterance has one label",
    "mcc": "MCC, the Matthews correlation of labels and predictions: 1 is perfect and 0 is chance",
}
"""Metric -> its definition; `scores` computes them from labels and predictions, and any of them can select weights."""
METRICS = {
    **LABEL_METRICS,
    "auroc": "AUROC, area under the ROC curve of each class against the others, mean over classes",
    "speaker_wa": "speaker WA, mean over speakers of each one's accuracy",
    "speaker_ua": "speaker UA, mean over speakers of each one's UA",
}
"""Every metric of one class an utterance -> its definition; the last ones also need probabilities or speakers."""
VALUE_METRICS = {
    "ccc": "CCC, Lin's concordance correlation of true and predicted ratings, mean over dimensions",
    "pearson": "Pearson, correlation of true and predicted ratings, mean over dimensions",
    "mae": "MAE, mean absolute error in units of the scale, mean over dimensions; lower is better",
    "kl": "KL, divergence of the prediction from the raters' shares, in nats; lower is better",
    "js": "JS, Jensen-Shannon divergence of shares and prediction, in nats; lower is better",
    "soft_macro_f1": "soft macro F1, F1 per class, where a class is present whose share exceeds one over the classes",
    "samples_f1": "samples F1, mean over utterances of the F1 of each one's set of labels",
    "map": "mAP, average precision of each class, mean over classes",
}
"""Every other metric -> its definition; those of ratings also exist for each dimension, as `ccc_valence`."""
OF_DIMENSIONS = ("ccc", "pearson", "mae")
LOWER_IS_BETTER = ("mae", "kl", "js")
OF_LABEL_SETS = {"macro_f1": "macro F1, unweighted mean of F1 per class", "micro_f1": "micro F1, F1 over all labels"}
"""What two of the metrics mean where an utterance has several labels."""

EXPECTED_METRICS = "text such as 'ua,wa', or names such as ['ua', 'wa']"
"""The forms of the option `metrics`."""

Labels = NDArray[np.int64]
Confusion = NDArray[np.int64]

NO_PREDICTION = -1
"""The class number of an utterance that a model cannot predict, as a feature is missing."""
RESAMPLES = 2000
LEVEL = 0.95


def check_metrics(names: Iterable[str], valid: Iterable[str], problems: Problems) -> None:
    """Note every name of the option `metrics` that is not valid."""
    for name in names:
        if name not in valid and name.partition("_")[0] not in OF_DIMENSIONS:
            with problems.collecting():
                raise UnknownNameError("metric", name, valid, "Several: --metrics ua,wa.")


def definition(metric: str) -> str:
    """The definition of any metric, which begins with its printed name."""
    if metric in METRICS:
        return METRICS[metric]
    if metric in VALUE_METRICS:
        return VALUE_METRICS[metric]
    measure, _, dimension = metric.partition("_")
    short, _, rest = VALUE_METRICS[measure].partition(", ")
    return f"{short} {dimension}, {rest.removesuffix('; lower is better').removesuffix(', mean over dimensions')}"


def short_name(metric: str) -> str:
    """The printed name of a metric, such as `UA`."""
    return definition(metric).split(",")[0]


def goodness(metric: str, value: float) -> float:
    """A number that is higher for a better score."""
    return -value if metric.partition("_")[0] in LOWER_IS_BETTER else value


def scores(labels: Labels, predictions: Labels) -> dict[str, float]:
    """The `LABEL_METRICS`, each in 0..1 (MCC in -1..1).

    UA averages recall over the classes among `labels`; the F1 scores average over those among labels or predictions.

    Args:
        labels: True class numbers [n].
        predictions: Predicted class numbers [n]; `NO_PREDICTION` counts as wrong.
    """
    classes = int(max(labels.max(initial=0), predictions.max(initial=0))) + 1
    columns = np.where(predictions == NO_PREDICTION, classes, predictions)
    cells = np.bincount(labels * (classes + 1) + columns, minlength=classes * (classes + 1))
    return {name: float(value[0]) for name, value in scores_of(cells.reshape(1, classes, classes + 1)).items()}


def confusion(labels: Labels, predictions: Labels, classes: int) -> Confusion:
    """[C, C] counts: rows are labels, columns predictions."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def recalls(matrix: Confusion) -> list[float | None]:
    """Recall of each class; None for a class without utterances."""
    return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


def scores_of(matrices: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """`scores` from confusion matrices [R, C, C], for many resamples at once.

    Matrices [R, C, C + 1] have a last column for `NO_PREDICTION`.
    """
    hit = np.diagonal(matrices, axis1=1, axis2=2).astype(np.float64)
    true, columns = matrices.sum(2), matrices.sum(1)
    predicted = columns[:, : true.shape[1]]
    total = np.maximum(true.sum(1), 1)
    recall = np.divide(hit, true, out=np.zeros_like(hit), where=true > 0)
    f1 = np.divide(2 * hit, true + predicted, out=np.zeros_like(hit), where=true + predicted > 0)
    accuracy = hit.sum(1) / total
    # Gorodkin 2004, with counts: s utterances, t true and p predicted of each class; 0 where a product is 0.
    s, t, p = total.astype(np.float64), true.astype(np.float64), predicted.astype(np.float64)
    norm = np.sqrt((s**2 - (columns.astype(np.float64) ** 2).sum(1)) * (s**2 - (t**2).sum(1)))
    covariance = hit.sum(1) * s - (t * p).sum(1)
    return {
        "wa": accuracy,
        "ua": recall.sum(1) / np.maximum((true > 0).sum(1), 1),
        "wf1": (f1 * true).sum(1) / total,
        "macro_f1": f1.sum(1) / np.maximum((true + predicted > 0).sum(1), 1),
        "micro_f1": accuracy,
        "mcc": np.divide(covariance, norm, out=np.zeros_like(norm), where=norm > 0),
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
    drawn, count = units.smallest, int(units.smallest.max()) + 1
    cells = [unit_cells(labels, predicted, classes, drawn, count) for predicted in np.atleast_2d(predictions)]
    sums: list[list[NDArray[np.float64]]] = [[] for _ in cells]
    for weights in units.weight_blocks(RESAMPLES, np.random.default_rng(seed)):
        for of_seed, unit_matrices in zip(sums, cells, strict=True):
            of_seed.append(weighted_sums(weights, unit_matrices))
    matrices = [np.concatenate(of_seed).astype(np.int64).reshape(-1, classes, classes + 1) for of_seed in sums]
    resampled = [scores_of(of_seed) for of_seed in matrices]
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    mean = {name: np.mean([r[name] for r in resampled], axis=0) for name in resampled[0]}
    return {name: (float(low), float(high)) for name, (low, high) in _quantiles(mean, edges).items()}


def _quantiles(values: Mapping[str, NDArray[np.float64]], edges: list[float]) -> dict[str, NDArray[np.float64]]:
    return {name: np.quantile(v, edges) for name, v in values.items()}


def mean_and_deviation(
    rows: Sequence[Mapping[str, float | None]],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Per score: mean over rows (folds, seeds) and sample standard deviation (n - 1), None for a single row.

    Scores that some row does not have are left out; both are None where some row's is None.
    """
    table = {name: [row[name] for row in rows] for name in rows[0] if all(name in row for row in rows)}
    known = {name: np.array([v for v in values if v is not None]) for name, values in table.items()}
    complete = {name for name, values in known.items() if len(values) == len(rows)}
    mean = {name: float(v.mean()) if name in complete else None for name, v in known.items()}
    several = complete if len(rows) > 1 else set()
    return mean, {name: float(v.std(ddof=1)) if name in several else None for name, v in known.items()}

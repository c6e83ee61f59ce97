"""The scores of each run and of its classes in resamples of the units, the same for all runs: intervals of a page.

Shapes: n utterances, S seeds, C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.resampling import ResamplingUnits
from emofuse.manifests.metrics.scores import LEVEL, Labels, scores_of
from emofuse.manifests.metrics.unit_counts import unit_cells, weighted_sums

Values = NDArray[np.float64]
Interval = tuple[float, float]
_EDGES = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """One score of each class, the mean over seeds; NaN where it is undefined."""

    observed: Values
    """[C]"""
    resampled: Values
    """[R, C]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResampledScores:
    """The scores of one run."""

    intervals: Mapping[str, Interval]
    """Metric -> the 95 % percentile interval of the mean over seeds."""
    recall: ClassScores
    f1: ClassScores


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDifference:
    """The difference of two runs in one class, first minus second, in -1..1."""

    value: float
    interval: Interval


def resampled_scores(
    runs: Sequence[Labels], labels: Labels, classes: int, units: ResamplingUnits, resamples: int
) -> list[ResampledScores]:
    """The scores of each run.

    Args:
        runs: The predictions of each run [S, n]; negative without a prediction.
        labels: [n].
        classes: C.
        units: What is drawn.
        resamples: R.
    """
    count = int(units.smallest.max()) + 1
    cells = [[unit_cells(labels, seed, classes, units.smallest, count) for seed in run] for run in runs]
    observed = [_mean_scores(np.ones((1, count)), seeds, classes) for seeds in cells]
    found: list[list[dict[str, Values]]] = [[] for _ in cells]
    for weights in units.weight_blocks(resamples, np.random.default_rng(0)):
        for blocks, seeds in zip(found, cells, strict=True):
            blocks.append(_mean_scores(weights, seeds, classes))
    return [_gathered(whole, blocks) for whole, blocks in zip(observed, found, strict=True)]


def class_differences(first: ClassScores, second: ClassScores) -> list[ClassDifference | None]:
    """The difference of each class with its percentile interval; None where a run's score is undefined."""
    values, resampled = first.observed - second.observed, first.resampled - second.resampled
    found: list[ClassDifference | None] = []
    for value, column in zip(values, resampled.T, strict=True):
        known = column[np.isfinite(column)]
        if np.isfinite(value) and len(known):
            low, high = np.quantile(known, _EDGES)
            found.append(ClassDifference(value=float(value), interval=(float(low), float(high))))
        else:
            found.append(None)
    return found


def _mean_scores(weights: NDArray[Any], seeds: Sequence[Any], classes: int) -> dict[str, Values]:
    """Metric -> [R], and `class recall` and `class f1` -> [R, C], under each weighting [R, units]."""
    found = [_scores(weighted_sums(weights, cells).reshape(len(weights), classes, classes + 1)) for cells in seeds]
    return {name: np.mean([scores[name] for scores in found], axis=0) for name in found[0]}


def _scores(matrices: Values) -> dict[str, Values]:
    hits, true = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(2)
    predicted = matrices.sum(1)[:, : true.shape[1]]
    by_class = {"class recall": _ratio(hits, true), "class f1": _ratio(2 * hits, true + predicted)}
    return {**scores_of(matrices.astype(np.int64)), **by_class}


def _ratio(part: Values, whole: Values) -> Values:
    ratio: Values = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _gathered(observed: Mapping[str, Values], blocks: Sequence[Mapping[str, Values]]) -> ResampledScores:
    resampled = {name: np.concatenate([block[name] for block in blocks]) for name in observed}
    bounds = {name: np.quantile(values, _EDGES) for name, values in resampled.items() if values.ndim == 1}
    recall, f1 = (
        ClassScores(observed=observed[name][0], resampled=resampled[name]) for name in ("class recall", "class f1")
    )
    return ResampledScores(
        intervals={name: (float(low), float(high)) for name, (low, high) in bounds.items()}, recall=recall, f1=f1
    )

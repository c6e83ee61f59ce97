"""Two runs' predictions of the same utterances, and the differences of their scores under many weightings at once.

Shapes: n utterances, S seeds, C classes, G units, R resamples or permutations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from emofuse.manifests.metrics import Labels, scores_of
from emofuse.manifests.unit_counts import unit_cells, weighted_sums

Scores = dict[str, NDArray[np.float64]]
"""Metric -> a value [R] for each weighting."""
COMPARABLE = tuple(scores_of(np.ones((1, 2, 2), np.int64)))
"""The metrics that can be compared: those that a confusion matrix gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPredictions:
    """Predicted classes of a first and a second run, for the same utterances in the same order."""

    labels: Labels
    """[n]"""
    first: Labels
    """[S, n]; `NO_PREDICTION` counts as wrong."""
    second: Labels
    """[S, n]; the number of seeds may be another."""
    classes: int

    def seed_pairs(self) -> Iterator[tuple[Labels, Labels]]:
        """The predictions [n] of both runs, seed by seed; every pair of seeds where the numbers of seeds differ."""
        same = len(self.first) == len(self.second)
        yield from zip(self.first, self.second, strict=True) if same else product(self.first, self.second)


def differences(pair: PairedPredictions) -> dict[str, float]:
    """First minus second: metric -> the difference of the pooled scores, the mean over seeds."""
    whole = unit_differences(pair, np.zeros(len(pair.labels), np.int64))
    return {name: float(value[0]) for name, value in whole.items()}


def weighted_differences(pair: PairedPredictions, units: NDArray[np.int64], weights: NDArray[np.int64]) -> Scores:
    """`differences` where each utterance counts as often as its unit.

    Args:
        pair: The predictions.
        units: The unit of each utterance [n], numbers from 0 to G - 1.
        weights: How often each unit counts [R, G].
    """
    found = []
    for runs in pair.seed_pairs():
        cells = (_unit_cells(pair, run, units, weights.shape[1]) for run in runs)
        first, second = (_scores(weighted_sums(weights, of_units), pair.classes) for of_units in cells)
        found.append(_subtract(first, second))
    return _mean_over_seeds(found)


def swapped_differences(pair: PairedPredictions, units: NDArray[np.int64], swaps: NDArray[np.bool_]) -> Scores:
    """`differences` after the two runs have exchanged their predictions of some units.

    Args:
        pair: The predictions.
        units: The unit of each utterance [n], numbers from 0 to G - 1.
        swaps: Which units are exchanged [R, G].
    """
    found = []
    for first, second in pair.seed_pairs():
        ours, theirs = (_unit_cells(pair, run, units, swaps.shape[1]) for run in (first, second))
        change = weighted_sums(swaps, csr_array(theirs - ours))
        sums = [np.asarray(side.sum(axis=0)) for side in (ours, theirs)]
        found.append(_subtract(_scores(sums[0] + change, pair.classes), _scores(sums[1] - change, pair.classes)))
    return _mean_over_seeds(found)


def unit_differences(pair: PairedPredictions, units: NDArray[np.int64]) -> Scores:
    """`differences` inside each unit: metric -> a value [G] for each; `units` are numbers [n] from 0 to G - 1."""
    count, found = int(units.max()) + 1, []
    for pairs in pair.seed_pairs():
        first, second = (_scores(_unit_cells(pair, run, units, count).toarray(), pair.classes) for run in pairs)
        found.append(_subtract(first, second))
    return _mean_over_seeds(found)


def scores_of_run(predictions: Labels, labels: Labels, classes: int) -> dict[str, float]:
    """Pooled scores of one run, each the mean over its seeds; predictions are [S, n]."""
    whole = unit_scores(predictions, labels, classes, np.zeros(len(labels), np.int64))
    return {name: float(value[0]) for name, value in whole.items()}


def unit_scores(predictions: Labels, labels: Labels, classes: int, units: NDArray[np.int64]) -> Scores:
    """Scores of one run inside each unit [G], each the mean over its seeds.

    Args:
        predictions: [S, n].
        labels: [n].
        classes: C.
        units: The unit of each utterance [n], numbers from 0 to G - 1.
    """
    count = int(units.max()) + 1
    cells = (unit_cells(labels, seed, classes, units, count).toarray() for seed in predictions)
    return _mean_over_seeds([_scores(of_seed, classes) for of_seed in cells])


def _unit_cells(pair: PairedPredictions, run: Labels, units: NDArray[np.int64], count: int) -> Any:
    """The confusion matrix of each unit: sparse [G, C * (C + 1)]."""
    return unit_cells(pair.labels, run, pair.classes, units, count)


def _scores(counts: NDArray[np.float64], classes: int) -> Scores:
    """Scores from flat confusion matrices [R, C * (C + 1)]; sums of counts are exact in float64."""
    return scores_of(counts.reshape(len(counts), classes, classes + 1).astype(np.int64))


def _subtract(first: Scores, second: Scores) -> Scores:
    return {name: first[name] - second[name] for name in first}


def _mean_over_seeds(found: list[Scores]) -> Scores:
    return {name: np.mean([scores[name] for scores in found], axis=0) for name in found[0]}

"""Two runs' predictions of the same utterances, and the differences of their scores under many weightings at once.

Shapes: n utterances, S seeds, C classes, G units, R resamples or permutations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from emofuse.manifests.metrics import Labels, scores_of
from emofuse.manifests.targets.scoring import extra_scores, sums_by_unit
from emofuse.manifests.targets.target import Target
from emofuse.manifests.unit_counts import unit_cells, weighted_sums

Scores = dict[str, NDArray[np.float64]]
"""Metric -> a value [R] for each weighting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPredictions:
    """What a run predicts under one seed, and the scores that follow from it."""

    labels: Labels
    """True class numbers [n]; zeros where there are no classes."""
    predicted: Labels
    """[n]; `NO_PREDICTION` counts as wrong."""
    classes: int
    """C; 0 where the target has not one class an utterance."""
    target: Target | None = None
    """Whose `terms` these are."""
    terms: NDArray[np.float64] | None = None
    """[n, M], of which the scores of the target's kind are made (`scoring.statistics`); None of one class."""

    def unit_sums(self, units: NDArray[np.int64], count: int) -> Any:
        """What the scores of each unit follow from: sparse [G, C * (C + 1) + M], the confusion matrix, then terms."""
        parts = [unit_cells(self.labels, self.predicted, self.classes, units, count)] if self.classes else []
        parts += [csr_array(sums_by_unit(self.terms, units, count))] if self.terms is not None else []
        return parts[0] if len(parts) == 1 else csr_array(hstack(parts))

    def scores(self, sums: NDArray[np.float64]) -> Scores:
        """Scores [R] from sums [R, C * (C + 1) + M]; sums of counts are exact in float64."""
        cells, found = self.classes * (self.classes + 1), Scores()
        if self.classes:
            found |= scores_of(sums[:, :cells].reshape(len(sums), self.classes, self.classes + 1).astype(np.int64))
        return found if self.target is None else found | extra_scores(self.target, sums[:, cells:])


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPredictions:
    """What a first and a second run predict for the same utterances in the same order."""

    first: Sequence[SeedPredictions]
    """Of each seed."""
    second: Sequence[SeedPredictions]
    """Of each seed; their number may be another."""

    @property
    def utterances(self) -> int:
        """n."""
        return len(self.first[0].labels)

    def seed_pairs(self) -> Iterator[tuple[SeedPredictions, SeedPredictions]]:
        """Both runs, seed by seed; every pair of seeds where the numbers of seeds differ."""
        same = len(self.first) == len(self.second)
        yield from zip(self.first, self.second, strict=True) if same else product(self.first, self.second)


def of_classes(labels: Labels, predicted: Labels, classes: int) -> list[SeedPredictions]:
    """The predictions [S, n] of a target of one class, for labels [n]."""
    return [SeedPredictions(labels=labels, predicted=seed, classes=classes) for seed in predicted]


def differences(pair: PairedPredictions) -> dict[str, float]:
    """First minus second: metric -> the difference of the pooled scores, the mean over seeds."""
    whole = unit_differences(pair, np.zeros(pair.utterances, np.int64))
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
        first, second = (run.scores(weighted_sums(weights, run.unit_sums(units, weights.shape[1]))) for run in runs)
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
        ours, theirs = (run.unit_sums(units, swaps.shape[1]) for run in (first, second))
        change = weighted_sums(swaps, csr_array(theirs - ours))
        sums = [np.asarray(side.sum(axis=0)) for side in (ours, theirs)]
        found.append(_subtract(first.scores(sums[0] + change), second.scores(sums[1] - change)))
    return _mean_over_seeds(found)


def unit_differences(pair: PairedPredictions, units: NDArray[np.int64]) -> Scores:
    """`differences` inside each unit: metric -> a value [G] for each; `units` are numbers [n] from 0 to G - 1."""
    count, found = int(units.max()) + 1, []
    for runs in pair.seed_pairs():
        first, second = (run.scores(run.unit_sums(units, count).toarray()) for run in runs)
        found.append(_subtract(first, second))
    return _mean_over_seeds(found)


def scores_of_run(seeds: Sequence[SeedPredictions]) -> dict[str, float]:
    """Pooled scores of one run, each the mean over its seeds."""
    whole = unit_scores(seeds, np.zeros(len(seeds[0].labels), np.int64))
    return {name: float(value[0]) for name, value in whole.items()}


def unit_scores(seeds: Sequence[SeedPredictions], units: NDArray[np.int64]) -> Scores:
    """Scores of one run inside each unit [G], each the mean over its seeds; `units` are numbers [n] from 0."""
    count = int(units.max()) + 1
    return _mean_over_seeds([seed.scores(seed.unit_sums(units, count).toarray()) for seed in seeds])


def _subtract(first: Scores, second: Scores) -> Scores:
    return {name: first[name] - second[name] for name in first}


def _mean_over_seeds(found: list[Scores]) -> Scores:
    return {name: np.mean([scores[name] for scores in found], axis=0) for name in found[0]}

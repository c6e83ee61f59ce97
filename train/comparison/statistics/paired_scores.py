"""Two runs' predictions of the same utterances, and the differences of their scores under many weightings at once.

Shapes: n utterances, S seeds, C classes, G units, R resamples or permutations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from emofuse.manifests.metrics.unit_counts import weighted_sums
from emofuse.train.comparison.inputs.seed_predictions import Scores, SeedPredictions


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

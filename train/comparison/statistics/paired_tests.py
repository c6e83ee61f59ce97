"""Paired tests of two runs on the same utterances: arrays in, numbers out.

The permutation test by unit decides; the others are printed beside it. docs/how-to/comparing.md says what each one
assumes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from emofuse.manifests.metrics.scores import LEVEL
from emofuse.train.comparison.statistics.paired_scores import (
    PairedPredictions,
    differences,
    swapped_differences,
    unit_differences,
    weighted_differences,
)

ALPHA = 0.05
EXACT_UNITS = 12
"""Up to so many units, all exchanges are enumerated; above, `PERMUTATIONS` are drawn."""
PERMUTATIONS = 9999
EXACT_DISCORDANT = 25
"""McNemar's test is exact below so many utterances that only one of the two runs has right."""
_TIE = 1e-12
"""Differences that are equal but for rounding count as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationTest:
    """Two-sided p values of a permutation test that exchanges the two runs' predictions of whole units."""

    p: Mapping[str, float]
    """Metric -> p."""
    exact: bool
    """Whether all exchanges were enumerated."""
    smallest: float
    """The smallest p that this number of units allows."""


def permutation_test(
    pair: PairedPredictions, units: NDArray[np.int64], permutations: int = PERMUTATIONS, seed: int = 0
) -> PermutationTest:
    """Test that the two runs are exchangeable within each unit, such as a speaker.

    Under that hypothesis every exchange is as likely as the observed one. Up to `EXACT_UNITS` units all 2^G exchanges
    are enumerated; otherwise p = (b + 1) / (m + 1) over m random ones (Phipson and Smyth 2010), never 0.

    Args:
        pair: The predictions.
        units: The unit of each utterance [n], numbers from 0 to G - 1.
        permutations: How many exchanges are drawn where not all are enumerated.
        seed: Seed of the draws.
    """
    count = int(units.max()) + 1
    exact = count <= EXACT_UNITS
    swaps = _all_swaps(count) if exact else np.random.default_rng(seed).random((permutations, count)) < 0.5
    observed, permuted = differences(pair), swapped_differences(pair, units, swaps)
    extreme = {name: np.abs(permuted[name]) >= abs(observed[name]) - _TIE for name in permuted}
    added = 0 if exact else 1
    return PermutationTest(
        p={name: float((found.sum() + added) / (len(found) + added)) for name, found in extreme.items()},
        exact=exact,
        smallest=max(2.0 ** (1 - count), 0.0 if exact else 1 / (permutations + 1)),
    )


def _all_swaps(count: int) -> NDArray[np.bool_]:
    """Half of all exchanges [2^(G-1), G]: those of the other half only change the sign of the difference."""
    numbers = np.arange(2 ** (count - 1))
    return (numbers[:, None] >> np.arange(count) & 1).astype(bool)


def paired_intervals(
    pair: PairedPredictions, units: NDArray[np.int64], weights: NDArray[np.int64], level: float = LEVEL
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of the differences; both runs get the same weights in each resample.

    Args:
        pair: The predictions.
        units: The unit of each utterance [n], numbers from 0 to G - 1.
        weights: How often each unit is drawn in each resample [R, G].
        level: Of the intervals.
    """
    edges = [(1 - level) / 2, (1 + level) / 2]
    bounds = {name: np.quantile(v, edges) for name, v in weighted_differences(pair, units, weights).items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemarTest:
    """McNemar's test on the utterances that only one of two runs has right; it takes utterances as independent."""

    only_first: int
    only_second: int
    p: float
    exact: bool
    """Binomial test, else chi-squared with continuity correction."""

    @property
    def odds_ratio(self) -> float | None:
        """The matched-pairs odds ratio, `only_first / only_second`; None where the second is 0."""
        return self.only_first / self.only_second if self.only_second else None


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemarTest:
    """McNemar's test; exact below `EXACT_DISCORDANT` discordant utterances.

    Args:
        first_right: Whether the first run predicts each utterance's class [n].
        second_right: The same of the second run.
    """
    b, c = int((first_right & ~second_right).sum()), int((~first_right & second_right).sum())
    exact = b + c < EXACT_DISCORDANT
    if exact:
        p = float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0
    else:
        p = float(stats.chi2.sf(max(abs(b - c) - 1, 0) ** 2 / (b + c), 1))
    return McNemarTest(only_first=b, only_second=c, p=p, exact=exact)


def mcnemar_over_seeds(pair: PairedPredictions) -> McNemarTest | None:
    """McNemar's test of each pair of seeds; the one with the largest p, so every pair must show a difference.

    None where there is not one class an utterance.
    """
    if not pair.first[0].classes:
        return None
    tests = [mcnemar(a.predicted == a.labels, b.predicted == b.labels) for a, b in pair.seed_pairs()]
    return max(tests, key=lambda test: test.p)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedT:
    """The corrected resampled t test of differences over folds and seeds."""

    difference: float
    """Mean over folds and seeds."""
    t: float
    degrees: int
    p: float


def corrected_t(found: Sequence[float] | NDArray[np.float64], ratio: float) -> CorrectedT | None:
    """The corrected resampled t test (Nadeau and Bengio 2003, Machine Learning 52).

    None for fewer than two values, and for equal ones: without variance there is no t.
    Training sides of folds overlap, so the differences are not independent: the variance of their mean is taken as
    (1 / J + n_test / n_train) times their variance.

    Args:
        found: The difference of each fold and seed [J].
        ratio: n_test / n_train.
    """
    values = np.asarray(found, np.float64)
    if len(values) < 2 or float(values.std(ddof=1)) <= _TIE:
        return None
    mean, variance, degrees = float(values.mean()), float(values.var(ddof=1)), len(values) - 1
    t = mean / float(np.sqrt((1 / len(values) + ratio) * variance))
    return CorrectedT(difference=mean, t=t, degrees=degrees, p=float(2 * stats.t.sf(abs(t), degrees)))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of several p values, in their order."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def cohens_d(pair: PairedPredictions, units: NDArray[np.int64]) -> dict[str, float | None]:
    """Metric -> Cohen's d of paired samples: mean over units of the score's difference, in standard deviations.

    A unit's UA is over the classes that the unit has. None for fewer than two units, or equal differences.
    """
    return {name: _standardised_mean(values) for name, values in unit_differences(pair, units).items()}


def _standardised_mean(values: NDArray[np.float64]) -> float | None:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()) / deviation if deviation > _TIE else None

"""The paired tests, against scipy.stats, statsmodels, scikit-learn and cases worked out by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from emofuse.manifests.metrics.resampling import named_units
from emofuse.manifests.metrics.scores import scores
from emofuse.train.comparison.inputs.seed_predictions import of_classes
from emofuse.train.comparison.statistics.paired_scores import (
    PairedPredictions,
    differences,
    scores_of_run,
    swapped_differences,
    unit_differences,
)
from emofuse.train.comparison.statistics.paired_tests import (
    cohens_d,
    corrected_t,
    holm,
    mcnemar,
    mcnemar_over_seeds,
    paired_intervals,
    permutation_test,
)

METRICS = ("wa", "ua", "wf1", "macro_f1", "micro_f1")


def paired(
    labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], classes: int
) -> PairedPredictions:
    return PairedPredictions(first=of_classes(labels, first, classes), second=of_classes(labels, second, classes))


def noisy(labels: NDArray[np.int64], right: float, seeds: int, generator: np.random.Generator) -> NDArray[np.int64]:
    guesses = generator.integers(3, size=(seeds, len(labels)))
    return np.where(generator.random((seeds, len(labels))) < right, labels, guesses)


def sample(
    n: int = 60, units: int = 6, seeds: tuple[int, int] = (1, 1), seed: int = 0
) -> tuple[PairedPredictions, NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=n)
    pair = paired(
        labels=labels,
        first=noisy(labels, 0.7, seeds[0], generator),
        second=noisy(labels, 0.5, seeds[1], generator),
        classes=3,
    )
    return pair, np.arange(n) % units


def test_differences_are_those_of_scikit_learns_scores() -> None:
    pair, units = sample(seeds=(2, 2))
    means = [
        [scores(run.labels, run.predicted)[m] for run in runs] for m in METRICS for runs in (pair.first, pair.second)
    ]
    expected = [np.mean(a) - np.mean(b) for a, b in zip(means[::2], means[1::2], strict=True)]
    found = differences(pair)
    assert [found[m] for m in METRICS] == pytest.approx(expected)
    ours = scores_of_run(pair.first)
    assert [ours[m] for m in METRICS] == pytest.approx([np.mean(a) for a in means[::2]])
    inside = unit_differences(pair, units)
    chosen = units == 4
    assert inside["wf1"][4] == pytest.approx(
        np.mean([scores(run.labels[chosen], run.predicted[chosen])["wf1"] for run in pair.first])
        - np.mean([scores(run.labels[chosen], run.predicted[chosen])["wf1"] for run in pair.second])
    )


@pytest.mark.parametrize("seeds", [(1, 1), (2, 2), (1, 3)])
def test_exchanged_units_give_the_scores_of_exchanged_predictions(seeds: tuple[int, int]) -> None:
    pair, units = sample(seeds=seeds, units=3)
    swaps = np.array(list(product([False, True], repeat=3)))
    found = swapped_differences(pair, units, swaps)
    pairs = (
        list(zip(pair.first, pair.second, strict=True))
        if seeds[0] == seeds[1]
        else list(product(pair.first, pair.second))
    )
    for row, swap in enumerate(swaps):
        mask = swap[units]
        numbers = [(a.predicted, b.predicted) for a, b in pairs]
        sides = [(np.where(mask, b, a), np.where(mask, a, b)) for a, b in numbers]
        labels = pair.first[0].labels
        expected = np.mean([scores(labels, a)["wf1"] - scores(labels, b)["wf1"] for a, b in sides])
        assert found["wf1"][row] == pytest.approx(expected)


def test_an_exact_permutation_test_is_scipys() -> None:
    for seed in range(5):
        pair, units = sample(seed=seed)
        found = permutation_test(pair, units)
        right = [np.bincount(units, run[0].predicted == run[0].labels) for run in (pair.first, pair.second)]
        reference = stats.permutation_test(
            right,
            lambda a, b, axis: a.sum(axis) - b.sum(axis),
            permutation_type="samples",
            n_resamples=np.inf,
            vectorized=True,
        )
        assert (found.exact, found.smallest) == (True, 2 / 64)
        assert found.p["wa"] == pytest.approx(reference.pvalue)


def test_many_units_are_drawn_and_p_is_never_0() -> None:
    right = np.zeros(400, np.int64)
    clear = paired(labels=right, first=right[None], second=np.tile([0, 1], 200)[None], classes=2)
    found = permutation_test(clear, np.arange(400), permutations=999)
    assert (found.exact, found.smallest) == (False, 1 / 1000)
    assert found.p["wa"] == pytest.approx(1 / 1000)
    again, thirteen = sample(n=65, units=13)
    drawn = permutation_test(again, thirteen, permutations=20_000)
    right = [np.bincount(thirteen, run[0].predicted == run[0].labels) for run in (again.first, again.second)]
    exact = stats.permutation_test(
        right,
        lambda a, b, axis: a.sum(axis) - b.sum(axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert drawn.p["wa"] == pytest.approx(exact.pvalue, abs=0.015)


def test_equal_predictions_never_differ() -> None:
    pair, units = sample()
    same = PairedPredictions(first=pair.first, second=pair.first)
    assert set(permutation_test(same, units).p.values()) == {1.0}
    assert set(cohens_d(same, units).values()) == {None}
    assert mcnemar_over_seeds(same).p == 1.0


def test_few_units_cannot_show_a_difference() -> None:
    labels = np.tile([0, 1], 50)
    pair = paired(labels=labels, first=labels[None], second=1 - labels[None], classes=2)
    for count, smallest in ((1, 1.0), (4, 0.125), (5, 0.0625), (6, 0.03125)):
        found = permutation_test(pair, np.arange(100) % count)
        assert found.smallest == smallest
        assert found.p["ua"] == smallest


@pytest.mark.parametrize(("b", "c"), [(9, 2), (0, 5), (12, 12), (10, 15), (40, 20), (30, 30), (400, 350)])
def test_mcnemar_is_statsmodels(b: int, c: int) -> None:
    first = np.array([True] * b + [False] * c + [True] * 7 + [False] * 3)
    second = np.array([False] * b + [True] * c + [True] * 7 + [False] * 3)
    exact = b + c < 25
    reference = reference_mcnemar([[7, b], [c, 3]], exact=exact, correction=True)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.exact) == (b, c, exact)
    # At b = c the corrected statistic of statsmodels is 1 / n instead of 0.
    assert found.p == pytest.approx(1.0 if b == c else reference.pvalue)
    assert found.odds_ratio == pytest.approx(b / c)


def test_mcnemar_without_a_discordant_utterance() -> None:
    right = np.array([True, False])
    found = mcnemar(right, right)
    assert (found.p, found.odds_ratio, found.exact) == (1.0, None, True)


def test_mcnemar_over_seeds_is_that_of_the_least_clear_pair_of_seeds() -> None:
    pair, _ = sample(seeds=(3, 3))
    each = [mcnemar(a.predicted == a.labels, b.predicted == b.labels).p for a, b in pair.seed_pairs()]
    assert mcnemar_over_seeds(pair).p == max(each) > min(each)


def test_holm_is_statsmodels() -> None:
    generator = np.random.default_rng(0)
    for count in (1, 3, 10):  # statsmodels takes a tenth of a second for each call
        for _ in range(2):
            p = generator.random(count) ** 3
            assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_the_corrected_t_is_the_usual_one_without_training_overlap() -> None:
    values = np.array([0.02, 0.05, -0.01, 0.04, 0.03])
    reference = stats.ttest_1samp(values, 0)
    found = corrected_t(values, 0.0)
    assert found is not None
    assert (found.t, found.p, found.degrees) == (pytest.approx(reference.statistic), pytest.approx(reference.pvalue), 4)


def test_the_corrected_t_of_nadeau_and_bengio_by_hand() -> None:
    # mean 2, variance 1, J = 3, n_test / n_train = 2 / 3: t = 2 / sqrt(1/3 + 2/3) = 2, on 2 degrees of freedom.
    found = corrected_t([1.0, 2.0, 3.0], 2 / 3)
    assert found is not None
    assert (found.difference, found.t, found.degrees) == (2.0, pytest.approx(2.0), 2)
    assert found.p == pytest.approx(2 * stats.t.sf(2, 2))
    assert corrected_t([1.0], 0.1) is None


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_differences_in_all_folds_have_no_t(value: float) -> None:
    assert corrected_t([value] * 5, 0.25) is None


def test_cohens_d_is_mean_over_deviation_of_the_units() -> None:
    labels = np.zeros(8, np.int64)
    # Per unit of two, the first run is better by 1, 0.5, 0.5 and 0.
    first = np.array([[0, 0, 0, 0, 0, 0, 0, 0]])
    second = np.array([[1, 1, 0, 1, 1, 0, 0, 0]])
    pair = paired(labels=labels, first=first, second=second, classes=2)
    units = np.repeat(np.arange(4), 2)
    assert cohens_d(pair, units)["wa"] == pytest.approx(0.5 / np.std([1, 0.5, 0.5, 0], ddof=1))


def test_intervals_are_scipys_paired_bootstrap() -> None:
    pair, _ = sample(n=300)
    units = named_units(range(300), "utterance")
    low, high = paired_intervals(pair, units.smallest, units.unit_weights(5000, np.random.default_rng(0)))["wa"]
    right = [(run[0].predicted == run[0].labels).astype(float) for run in (pair.first, pair.second)]
    reference = stats.bootstrap(
        right, lambda a, b, axis: a.mean(axis) - b.mean(axis), paired=True, method="percentile", n_resamples=5000, rng=0
    ).confidence_interval
    assert (low, high) == (pytest.approx(reference.low, abs=0.01), pytest.approx(reference.high, abs=0.01))


def test_whole_speakers_are_drawn_the_same_for_both_runs() -> None:
    labels = np.zeros(40, np.int64)
    second = np.ones((1, 40), np.int64)
    second[0, :20] = 0  # both runs are right about speaker 0, the first alone about speaker 1
    pair = paired(labels=labels, first=np.zeros((1, 40), np.int64), second=second, classes=2)
    weights = np.array([[2, 0], [1, 1], [0, 2], [1, 1]])
    bounds = paired_intervals(pair, np.repeat([0, 1], 20), weights, level=1.0)
    assert bounds["wa"] == (0.0, 1.0)

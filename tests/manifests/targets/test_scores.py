"""Scores of ratings, of raters' shares and of sets of labels, against hand-worked cases and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score

from emofuse.manifests.metrics.resampling import named_units
from emofuse.manifests.metrics.scores import definition, goodness, short_name
from emofuse.manifests.targets.dimension import Dimension
from emofuse.manifests.targets.distribution import class_votes
from emofuse.manifests.targets.kind_intervals import kind_intervals
from emofuse.manifests.targets.multilabel import best_threshold
from emofuse.manifests.targets.scoring import definitions, extra_metrics, kind_scores, selecting_metrics, value_scores
from emofuse.manifests.targets.target import Target

RNG = np.random.default_rng(0)
RATED = Target(kind="dimensions", classes=(), dimensions=(Dimension(name="valence", low=1, high=5, field="valence"),))
THREE = ("a", "b", "c")


def ccc(truth: list[float], predicted: list[float]) -> float:
    return kind_scores(RATED, np.array(truth)[:, None], np.array(predicted)[:, None])["ccc"]


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        # shifted by 1: 2 (2/3) / (2/3 + 2/3 + 1)
        ([2.0, 3.0, 4.0], 4 / 7),
        # doubled: means 2 and 4, variances 2/3 and 8/3, covariance 4/3
        ([2.0, 4.0, 6.0], (8 / 3) / (10 / 3 + 4)),
        ([3.0, 2.0, 1.0], -1.0),
        ([2.0, 2.0, 2.0], 0.0),
    ],
)
def test_ccc_of_hand_worked_cases(predicted: list[float], expected: float) -> None:
    assert ccc([1.0, 2.0, 3.0], predicted) == pytest.approx(expected)


def test_a_constant_truth_has_no_concordance() -> None:
    assert ccc([3.1, 3.1, 3.1], [1.0, 2.0, 3.0]) == 0
    assert ccc([3.1, 3.1], [3.1, 3.1]) == 0


def test_scores_of_ratings_of_several_dimensions() -> None:
    two = Target(
        kind="dimensions",
        classes=(),
        dimensions=tuple(Dimension(name=n, low=1, high=5, field=n) for n in ("valence", "arousal")),
    )
    truth = RNG.uniform(1, 5, (50, 2))
    predicted = truth + RNG.normal(0, 0.5, (50, 2))
    found = kind_scores(two, truth, predicted)
    for k, name in enumerate(("valence", "arousal")):
        assert found[f"pearson_{name}"] == pytest.approx(stats.pearsonr(truth[:, k], predicted[:, k]).statistic)
        assert found[f"mae_{name}"] == pytest.approx(np.abs(truth[:, k] - predicted[:, k]).mean())
    assert found["ccc"] == pytest.approx((found["ccc_valence"] + found["ccc_arousal"]) / 2)
    assert set(found) == set(extra_metrics(two))


def test_divergences_of_hand_worked_cases() -> None:
    target = Target(kind="distribution", classes=("a", "b"))
    half = np.array([[0.5, 0.5]])
    found = kind_scores(target, np.array([[4.0, 0.0]]), half)
    assert found["kl"] == pytest.approx(np.log(2))
    middle = np.array([0.75, 0.25])
    expected = (np.log(1 / 0.75) + (0.5 * np.log(0.5 / middle)).sum()) / 2
    assert found["js"] == pytest.approx(expected)
    assert kind_scores(target, np.array([[1.0, 1.0]]), half)["kl"] == pytest.approx(0)
    certain = kind_scores(target, np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert np.isfinite(certain["kl"])
    assert certain["js"] == pytest.approx(np.log(2), abs=1e-6)


def test_soft_macro_f1_thresholds_both_sides_at_one_over_the_classes() -> None:
    target = Target(kind="distribution", classes=THREE)
    votes = RNG.integers(0, 4, (60, 3)).astype(float) + np.eye(3)[RNG.integers(0, 3, 60)]
    predicted = RNG.dirichlet(np.ones(3), 60)
    share = votes / votes.sum(1, keepdims=True)
    expected = f1_score(share > 1 / 3, predicted > 1 / 3, average="macro", zero_division=0)
    assert kind_scores(target, votes, predicted)["soft_macro_f1"] == pytest.approx(expected)


def test_scores_of_sets_are_those_of_scikit_learn() -> None:
    target = Target(kind="multilabel", classes=THREE)
    truth = (RNG.random((80, 3)) < [0.5, 0.2, 0.05]).astype(float)
    probabilities = RNG.random((80, 3))
    sets = probabilities >= 0.6
    found = value_scores(target, truth, probabilities, sets)
    for average, name in (("macro", "macro_f1"), ("micro", "micro_f1"), ("samples", "samples_f1")):
        assert found[name] == pytest.approx(f1_score(truth > 0, sets, average=average, zero_division=0))
    assert found["map"] == pytest.approx(average_precision_score(truth, probabilities, average="macro"))


def test_a_class_that_nobody_has_is_left_out_of_map_but_not_of_macro_f1() -> None:
    target = Target(kind="multilabel", classes=THREE)
    truth = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    probabilities = np.array([[0.9, 0.1, 0.2], [0.2, 0.8, 0.1]])
    found = value_scores(target, truth, probabilities, probabilities >= 0.5)
    assert found["map"] == 1
    assert found["macro_f1"] == pytest.approx(2 / 3)


def test_the_threshold_has_the_best_macro_f1_and_of_equals_the_one_nearest_to_a_half() -> None:
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert best_threshold(truth, np.array([[0.31, 0.1], [0.2, 0.33], [0.4, 0.35]])) == pytest.approx(0.3)
    assert best_threshold(truth, truth) == pytest.approx(0.5)


def test_intervals_resample_whole_units_and_hold_the_score() -> None:
    truth = RNG.uniform(1, 5, (60, 1))
    predicted = truth + RNG.normal(0, 0.5, (60, 1))
    units = named_units([str(i % 6) for i in range(60)], "speaker")
    found = kind_intervals(RATED, [(truth, predicted, None)], units)
    low, high = found["ccc"]
    assert low < kind_scores(RATED, truth, predicted)["ccc"] < high
    assert kind_intervals(RATED, [(truth, predicted, None)], units) == found
    one_unit = kind_intervals(RATED, [(truth, predicted, None)], named_units(["a"] * 60, "speaker"))
    assert one_unit["ccc"][0] == pytest.approx(one_unit["ccc"][1])


def test_a_target_with_a_class_also_has_the_scores_of_the_class() -> None:
    both = Target(kind="classes+dimensions", classes=THREE, dimensions=RATED.dimensions)
    truth = np.array([[0, 1.0], [2, 3.0], [1, 5.0]])
    values = np.array([[0.7, 0.2, 0.1, 1.0], [0.1, 0.2, 0.7, 3.0], [0.6, 0.3, 0.1, 5.0]])
    found = value_scores(both, truth, values)
    assert found["wa"] == pytest.approx(2 / 3)
    assert found["ccc_valence"] == pytest.approx(1)
    assert {"ua", "ccc"} <= set(selecting_metrics(both))


def test_lower_is_better_of_errors_and_divergences() -> None:
    assert goodness("kl", 0.1) > goodness("kl", 0.2)
    assert goodness("mae_valence", 0.1) > goodness("mae_valence", 0.2)
    assert goodness("ccc_valence", 0.2) > goodness("ccc_valence", 0.1)


def test_every_metric_has_a_name_and_a_definition() -> None:
    assert short_name("ccc_valence") == "CCC valence"
    assert definition("mae_valence") == "MAE valence, mean absolute error in units of the scale"
    several = definitions(Target(kind="multilabel", classes=THREE))
    assert several["micro_f1"] == "micro F1, F1 over all labels"
    assert set(several) == {"macro_f1", "micro_f1", "samples_f1", "map"}


def test_votes_for_other_labels_are_left_out_or_spread() -> None:
    labels = {"A": "a", "B": "b", "E": "a"}
    votes = {"A": 2.0, "E": 1.0, "X": 3.0}
    assert class_votes(votes, labels, THREE, "ignore").tolist() == [3, 0, 0]
    assert class_votes(votes, labels, THREE, "spread").tolist() == [4, 1, 1]

"""Scores against hand-computed values, and properties of the bootstrap."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, recall_score

from emofuse.manifests.metrics import unit_counts
from emofuse.manifests.metrics.resampling import named_units
from emofuse.manifests.metrics.scores import (
    LABEL_METRICS,
    METRICS,
    NO_PREDICTION,
    Labels,
    confusion,
    intervals,
    mean_and_deviation,
    recalls,
    scores,
    scores_of,
)

LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 2, 2])
MCC = (5 * 7 - (4 * 3 + 2 * 2 + 1 * 2)) / ((49 - 17) * (49 - 21)) ** 0.5


def test_scores_by_hand() -> None:
    # Recalls 3/4, 1/2, 1; precisions 1, 1/2, 1/2; F1 6/7, 1/2, 2/3. MCC: 5 of 7 right, labels 4 2 1, predictions 3 2 2.
    assert scores(LABELS, PREDICTED) == pytest.approx(
        {
            "wa": 5 / 7,
            "ua": (3 / 4 + 1 / 2 + 1) / 3,
            "wf1": (4 * 6 / 7 + 2 * 1 / 2 + 1 * 2 / 3) / 7,
            "macro_f1": (6 / 7 + 1 / 2 + 2 / 3) / 3,
            "micro_f1": 5 / 7,
            "mcc": MCC,
        }
    )


def test_the_majority_class_gives_a_high_wa_and_a_chance_ua() -> None:
    labels = np.array([0] * 9 + [1])
    found = scores(labels, np.zeros(10, np.int64))
    assert (found["wa"], found["ua"]) == (0.9, 0.5)


def test_a_class_without_test_utterances_does_not_count_in_ua() -> None:
    assert scores(np.array([0, 0, 1]), np.array([0, 2, 1]))["ua"] == pytest.approx((1 / 2 + 1) / 2)


def test_an_utterance_without_a_prediction_is_wrong_and_adds_no_class() -> None:
    found = scores(np.append(LABELS, 2), np.append(PREDICTED, NO_PREDICTION))
    # Recalls 3/4, 1/2, 1/2; F1 6/7, 1/2, 2 / (2 + 2).
    assert (found["wa"], found["micro_f1"]) == (5 / 8, 5 / 8)
    assert found["ua"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1 / 2 + 1 / 2) / 3)
    assert found["wf1"] == pytest.approx((4 * 6 / 7 + 2 * 1 / 2 + 2 * 1 / 2) / 8)
    assert 0 < found["mcc"] < MCC


def test_mean_and_deviation_are_none_where_a_row_has_none_and_skip_scores_that_a_row_lacks() -> None:
    mean, deviation = mean_and_deviation([{"wa": 0.5, "auroc": None, "mcc": 0.1}, {"wa": 0.7, "auroc": 0.8}])
    assert mean == pytest.approx({"wa": 0.6, "auroc": None})
    assert deviation["auroc"] is None


def test_every_metric_has_an_abbreviation_and_a_definition() -> None:
    assert set(scores(LABELS, PREDICTED)) == set(LABEL_METRICS)
    assert all(definition.count(",") for definition in METRICS.values())


def test_confusion_has_labels_in_rows() -> None:
    matrix = confusion(LABELS, PREDICTED, 4)
    assert matrix.tolist() == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert recalls(matrix) == [0.75, 0.5, 1.0, None]


def of_scikit_learn(labels: Labels, found: Labels) -> dict[str, float]:
    occurring = sorted({*labels, *found} - {NO_PREDICTION})
    f1 = {k: f1_score(labels, found, labels=occurring, average=k, zero_division=0) for k in ("weighted", "macro")}
    return {
        "wa": accuracy_score(labels, found),
        "ua": recall_score(labels, found, labels=np.unique(labels), average="macro", zero_division=0),
        "wf1": f1["weighted"],
        "macro_f1": f1["macro"],
        "micro_f1": f1_score(labels, found, average="micro", zero_division=0),
        "mcc": matthews_corrcoef(labels, found) if len(occurring) > 1 else 0.0,
    }


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(NO_PREDICTION, 3)), min_size=1, max_size=30))
def test_scores_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, found = (np.array(x, np.int64) for x in zip(*pairs, strict=True))
    assert scores(labels, found) == pytest.approx(of_scikit_learn(labels, found))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_scores_from_a_confusion_matrix_are_those_from_labels(pairs: list[tuple[int, int]]) -> None:
    labels, found = (np.array(x, np.int64) for x in zip(*pairs, strict=True))
    many = scores_of(confusion(labels, found, 4)[None])
    assert {k: v[0] for k, v in many.items()} == pytest.approx(scores(labels, found))


def test_an_interval_contains_the_score_and_shrinks_with_more_data() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        labels = rng.integers(0, 2, n)
        found = np.where(rng.random(n) < 0.7, labels, 1 - labels)
        low, high = intervals(labels, found, 2, named_units(range(n)))["wa"]
        assert low < scores(labels, found)["wa"] < high
        return high - low

    assert width(1600) < width(100) / 2.5


def test_the_interval_of_a_proportion_is_the_known_one() -> None:
    labels = np.zeros(400, np.int64)
    found = (np.arange(400) % 4 == 0).astype(np.int64)
    low, high = intervals(labels, found, 2, named_units(range(400)))["wa"]
    half = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.008)


def test_drawing_whole_dialogues_widens_the_interval_where_utterances_correlate() -> None:
    labels = np.zeros(200, np.int64)
    found = np.repeat(np.arange(20) % 2, 10).astype(np.int64)

    def width(units: list[int]) -> float:
        low, high = intervals(labels, found, 2, named_units(units))["wa"]
        return high - low

    assert width([i // 10 for i in range(200)]) > 2 * width(list(range(200)))


def test_intervals_drawn_in_blocks_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, 3, (2, 60))
    for units in (named_units(range(60)), named_units([i // 10 for i in range(60)])):
        whole = intervals(labels, np.stack([found, labels]), 3, units)
        with monkeypatch.context() as patch:
            patch.setattr(unit_counts, "ENTRIES", 7 * units.count)
            assert intervals(labels, np.stack([found, labels]), 3, units) == whole


def test_intervals_over_many_utterances_take_little_memory() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 20_000)
    tracemalloc.start()
    try:
        intervals(labels, labels, 3, named_units(range(20_000)))
        assert tracemalloc.get_traced_memory()[1] < 150e6, "all weights at once are 320 MB"
    finally:
        tracemalloc.stop()


def test_intervals_are_repeatable() -> None:
    units = named_units(range(7))
    assert intervals(LABELS, PREDICTED, 3, units) == intervals(LABELS, PREDICTED, 3, units)


def test_mean_and_sample_deviation() -> None:
    mean, deviation = mean_and_deviation([{"wa": 0.5}, {"wa": 0.7}])
    assert mean == pytest.approx({"wa": 0.6})
    assert deviation == pytest.approx({"wa": 0.02**0.5})
    assert mean_and_deviation([{"wa": 0.5}])[1] == {"wa": None}


def test_a_last_column_of_a_matrix_is_no_prediction() -> None:
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(3, size=40), generator.integers(-1, 3, size=40)
    matrix = np.zeros((1, 3, 4), np.int64)
    np.add.at(matrix[0], (labels, np.where(predicted == NO_PREDICTION, 3, predicted)), 1)
    found = {name: float(value[0]) for name, value in scores_of(matrix).items()}
    assert found == pytest.approx(scores(labels, predicted))

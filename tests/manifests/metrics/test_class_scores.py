"""Scores of classes and groups, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from emofuse.manifests.metrics.class_scores import auroc, group_scores, mean_over_groups, per_class, worst_group

LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 2, 2])


def test_scores_of_each_class() -> None:
    found = per_class(LABELS, PREDICTED, ["a", "b", "c"])
    assert found["a"] == pytest.approx({"precision": 1.0, "recall": 3 / 4, "f1": 6 / 7, "support": 4})
    assert found["b"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2})
    assert found["c"] == pytest.approx({"precision": 1 / 2, "recall": 1.0, "f1": 2 / 3, "support": 1})


def test_what_is_undefined_is_none() -> None:
    never_predicted, never_there = np.array([0, 1]), np.array([0, 0])
    assert per_class(never_predicted, never_there, ["a", "b", "c"])["b"] == {
        "precision": None,
        "recall": 0.0,
        "f1": 0.0,
        "support": 1,
    }
    assert per_class(never_there, never_there, ["a", "b"])["b"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }


def test_auroc_is_the_mean_share_of_rightly_ordered_pairs() -> None:
    labels = np.array([0, 0, 1, 1])
    first = np.array([0.9, 0.4, 0.6, 0.1])  # three of four pairs in order
    assert auroc(labels, np.stack([first, 1 - first], axis=1)) == pytest.approx(3 / 4)
    three = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.3, 0.2]])
    # Class 0: 0.6 above 0.2 and 0.5. Class 1: 0.5 above both. Class 2: 0.2 above 0.1 and below 0.3.
    assert auroc(np.array([0, 1, 2]), three) == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_auroc_is_none_where_a_class_is_absent() -> None:
    assert auroc(np.array([0, 0]), np.full((2, 2), 0.5)) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=30))
def test_scores_of_classes_and_auroc_are_scikit_learns(rows: list[tuple[int, int, int]]) -> None:
    labels, found, confidence = (np.array(x) for x in zip(*rows, strict=True))
    classes = per_class(labels, found, ["a", "b", "c"]).values()
    theirs = precision_recall_fscore_support(labels, found, labels=range(3), zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        mine = [np.nan if c[name] is None else c[name] for c in classes]
        np.testing.assert_allclose(mine, values)
    probabilities = np.stack([confidence, (2 * confidence) % 5, 4 - confidence], axis=1) / 4
    area = auroc(labels, probabilities)
    if area is None:
        assert len(set(labels)) < 3
    else:
        assert area == pytest.approx(np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in range(3)]))


NAMES = ["x", "x", "x", "y", "y", "y", ""]


def test_groups_are_scored_alone_over_the_classes_that_they_have() -> None:
    found = group_scores(LABELS, PREDICTED, NAMES)
    assert found == {"x": {"n": 3, "wa": 1.0, "ua": 1.0}, "y": {"n": 3, "wa": 1 / 3, "ua": pytest.approx(1 / 4)}}


def test_the_mean_over_groups_counts_each_the_same() -> None:
    names = ["x", "x", "x", "x", "x", "x", "y"]
    assert mean_over_groups(LABELS, PREDICTED, names)["wa"] == pytest.approx((4 / 6 + 1) / 2)
    assert mean_over_groups(LABELS, PREDICTED, NAMES) == {"wa": None, "ua": None}


def test_the_worst_group_is_one_of_at_least_ten_utterances() -> None:
    groups = {"a": {"n": 9, "wa": 0.1, "ua": 0.1}, "b": {"n": 10, "wa": 0.4, "ua": 0.4}}
    assert worst_group(groups) is None
    assert worst_group(groups | {"c": {"n": 50, "wa": 0.3, "ua": 0.5}}) == {"name": "b", "n": 10, "wa": 0.4, "ua": 0.4}

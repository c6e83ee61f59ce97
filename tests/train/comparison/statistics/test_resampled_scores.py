"""Resampled scores of runs and classes, beside a plain bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from emofuse.manifests.metrics.resampling import named_units
from emofuse.manifests.metrics.scores import intervals
from emofuse.train.comparison.statistics.resampled_scores import class_differences, resampled_scores

RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 3, 300)
UNITS = named_units([f"s{i // 30}" for i in range(300)], "speaker")
FIRST = np.where(RNG.random((2, 300)) < 0.7, LABELS, RNG.integers(0, 3, (2, 300)))
SECOND = np.where(RNG.random((1, 300)) < 0.5, LABELS, RNG.integers(0, 3, (1, 300)))


def test_intervals_of_a_run_are_those_of_fit() -> None:
    first, second = resampled_scores([FIRST, SECOND], LABELS, 3, UNITS, 2000)
    for found, run in ((first, FIRST), (second, SECOND)):
        expected = intervals(LABELS, run, 3, UNITS)
        assert found.intervals.keys() == expected.keys()
        for metric, interval in expected.items():
            assert found.intervals[metric] == pytest.approx(interval)


def test_differences_of_classes_are_those_of_a_plain_bootstrap() -> None:
    first, second = resampled_scores([FIRST, SECOND], LABELS, 3, UNITS, 500)
    found = class_differences(first.recall, second.recall)
    weights = UNITS.unit_weights(500, np.random.default_rng(0))[:, UNITS.outer]
    for c, difference in enumerate(found):
        of_class = c == LABELS
        recall = [(weights[:, of_class] @ (run[:, of_class] == c).mean(0)) for run in (FIRST, SECOND)]
        resampled = (recall[0] - recall[1]) / weights[:, of_class].sum(1)
        assert difference is not None
        assert difference.interval == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])))
        expected = (FIRST[:, of_class] == c).mean() - (SECOND[:, of_class] == c).mean()
        assert difference.value == pytest.approx(expected)


def test_a_class_without_utterances_has_no_recall_and_an_f1_of_zero_where_predicted() -> None:
    labels = np.where(LABELS == 2, 0, LABELS)
    first, second = resampled_scores([FIRST, SECOND], labels, 3, UNITS, 100)
    assert class_differences(first.recall, second.recall)[2] is None
    difference = class_differences(first.f1, second.f1)[2]
    assert difference is not None
    assert difference.value == 0

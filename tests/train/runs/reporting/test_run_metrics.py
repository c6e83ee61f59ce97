"""metrics.json: how the scores of several seeds are summarised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emofuse.manifests.metrics.resampling import named_units
from emofuse.manifests.metrics.scores import intervals
from emofuse.train.runs.reporting.run_metrics import over_seeds

SCORES = ("wa", "ua", "wf1", "macro_f1", "micro_f1")


def run(ua: float) -> dict[str, Any]:
    scored = dict.fromkeys(SCORES, ua)
    return {
        "protocol": "tiny4",
        "model": "text",
        "classes": ["a"],
        "metrics": ["ua"],
        "definitions": {},
        "mean": scored,
        "pooled": scored,
        "wall_seconds": 2.0,
        "folds": [{"fold": 1, "predicts_only": None}, {"fold": 2, "predicts_only": "a" if ua == 0.5 else None}],
    }


def test_seeds_are_summarised_by_mean_and_sample_deviation() -> None:
    found = over_seeds({3: run(0.5), 4: run(0.7), 5: run(0.6)})
    assert found["seeds"] == [3, 4, 5]
    assert found["mean"]["ua"] == pytest.approx(0.6)
    assert found["std"]["ua"] == pytest.approx(0.1)
    assert found["wall_seconds"] == 6.0
    assert found["per_seed"]["4"]["mean"]["ua"] == 0.7
    assert [r["one_class_folds"] for r in found["per_seed"].values()] == [[2], [], []]


def test_intervals_over_seeds_are_those_of_one_seed_where_seeds_agree() -> None:
    rng = np.random.default_rng(0)
    labels, one, other = rng.integers(0, 3, (3, 90))
    units = named_units([i // 3 for i in range(90)])
    single = intervals(labels, one, 3, units)
    twice = intervals(labels, np.stack([one, one]), 3, units)
    assert all(twice[name] == pytest.approx(single[name]) for name in single)
    both = intervals(labels, np.stack([one, other]), 3, units)
    assert both["wa"][1] - both["wa"][0] < single["wa"][1] - single["wa"][0]

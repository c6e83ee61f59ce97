"""`fit` comes near the best possible scores of data whose truth is known (benchmarks/known_targets.py, in small)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "known_targets.py"


@pytest.mark.slow
def test_soft_labels_and_ccc_come_near_what_is_possible(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("known_targets", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    _, rows = script.measure(tmp_path, utterances=1600, seeds=2, steps=400)
    scores = [float(fit.split(" ")[0]) for _, _, fit, _ in rows]
    best = [float(text) for *_, text in rows]
    soft_votes, soft_truth, hard_votes, hard_truth, mse, ccc = scores
    assert best[0] <= soft_votes < best[0] + 0.03
    assert soft_truth < 0.03
    assert soft_votes + 0.02 < hard_votes
    assert soft_truth + 0.02 < hard_truth
    assert mse < ccc
    assert all(abs(score - possible) < 0.1 for score, possible in ((mse, best[4]), (ccc, best[5])))

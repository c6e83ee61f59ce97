"""Errors of a run: correlations against scipy, and adjusted p-values."""

from __future__ import annotations

import pytest

from emofuse.report.exploration.measure.run_errors import _holm


def test_holm_matches_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    raw = [0.01, 0.04, 0.03, 0.9]
    assert _holm(raw) == pytest.approx(multipletests(raw, method="holm")[1].tolist())
    assert _holm([]) == []

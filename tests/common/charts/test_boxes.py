"""Boxes: where the lines of a group begin and end."""

from __future__ import annotations

import numpy as np
import pytest

from emofuse.common.charts.boxes import boxes
from emofuse.common.charts.palette import PRINTED


def test_lines_are_quantiles_and_counts_stand_beside_them() -> None:
    axes = boxes({"$a$": range(101), "b": [3.0]}, "seconds", {"b": "#123456"})(PRINTED).axes[0]  # type: ignore[dict-item]
    ends = [line.get_xdata() for line in axes.lines]
    np.testing.assert_allclose(ends[0], [5, 95])
    np.testing.assert_allclose(ends[1], [25, 75])
    assert float(ends[2][0]) == pytest.approx(50)
    assert axes.lines[3].get_color() == "#123456"
    assert [text.get_text() for text in axes.get_yticklabels()] == [r"\$a\$", "b"]
    assert [text.get_text() for text in axes.child_axes[0].get_yticklabels()] == ["n 101", "n 1"]

"""Curves over time with loudness below them: what is drawn, and where."""

from __future__ import annotations

import numpy as np
import page_samples
import pytest

from emofuse.common.charts.drawing import inline_svg, picture
from emofuse.common.charts.palette import PRINTED
from emofuse.common.charts.strips import strips

CURVES = {"main": ([0.1, 0.2, 0.3], [1.0, 2.0, 0.5]), page_samples.ATTACK: ([0.1, 0.2, 0.3], [0.2, 0.1, 3.0])}
LOUDNESS = ([0.0, 1.0], [3.0, 4.0])


def test_curves_differ_in_colour_and_style_and_start_at_zero() -> None:
    (axes,) = strips(CURVES, "time in s", "weight", reference=1)(PRINTED).axes
    first, second, line = axes.lines
    np.testing.assert_array_equal(second.get_ydata(), CURVES[page_samples.ATTACK][1])
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert list(line.get_ydata()) == [1, 1]
    assert axes.get_ylim()[0] == 0


def test_the_strip_below_has_the_same_time_and_the_label() -> None:
    axes, below = strips(CURVES, "time in s", "weight", below=LOUDNESS, below_label="loudness")(PRINTED).axes
    assert axes.get_xlim() == below.get_xlim()
    assert below.get_xlim()[1] >= 1.0  # the curves end earlier: the model did not read the rest
    assert (axes.get_xlabel(), below.get_xlabel(), below.get_ylabel()) == ("", "time in s", "loudness")


def test_words_stand_below_the_axis_and_stay_text() -> None:
    drawing = strips({"main": ([0, 1], [0.3, 0.7])}, "", "share", ticks=[page_samples.ATTACK, "$x$"])
    (axes,) = drawing(PRINTED).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()][1] == r"\$x\$"
    assert "<img" not in inline_svg(drawing, "words")
    assert picture(drawing, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("n", [1, 60])
def test_one_frame_and_many(n: int) -> None:
    values = list(range(n))
    (axes,) = strips({"a": (values, values)}, "x", "y")(PRINTED).axes
    assert len(axes.lines[0].get_xdata()) == n
    assert (axes.lines[0].get_marker() == ".") == (n == 1)  # few values are seen as points


def test_pieces_are_counted_in_whole_numbers_and_long_names_stand_below_each_other() -> None:
    long = {f"a branch with a long name {n}": ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]) for n in range(3)}
    figure = strips(long, "word piece", "share")(PRINTED)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [tick for tick in axes.get_xticks() if not float(tick).is_integer()] == []
    box = axes.get_legend().get_window_extent()
    assert box.x1 <= figure.bbox.x1

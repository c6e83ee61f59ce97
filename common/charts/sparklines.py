"""Tiny charts for the cells of tables: one bar for each value, hundreds of charts in one pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from emofuse.common.charts.drawing import new_figure, quick_svg
from emofuse.common.charts.palette import THEMED

WIDTH, HEIGHT = 96, 20
"""The view box of a sparkline."""
WIDEST_BAR = 6.0
_SLICE = re.compile(r'<g id="spark-(\d+)">\s*(<path [^>]*/>)')


def sparklines(rows: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """One SVG element for each row of values, for the `sparklines` of a page.

    All have the same scale, from 0 (or the smallest value, if that is below 0) to the largest value of any row.

    Args:
        rows: Key -> at least one finite value.

    Returns:
        Key -> a path in a view box of 96 x 20, in the page's accent colour.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if not rows:
        return {}
    keys = list(rows)
    low = min(0.0, *(min(values) for values in rows.values()))
    high = max(low + 1e-9, *(max(values) for values in rows.values()))

    figure = new_figure(THEMED, WIDTH / 72, HEIGHT / 72)
    from matplotlib.lines import Line2D

    for number, values in enumerate(rows.values()):
        x, y = _bars([(value - low) / (high - low) for value in values], -low / (high - low))
        line = Line2D(
            x, y, transform=figure.transFigure, color=THEMED.accent, gid=f"spark-{number}",
            linewidth=min(WIDEST_BAR, 0.7 * WIDTH / len(values)), solid_capstyle="butt",
        )  # fmt: skip
        figure.add_artist(line)
    paths = _SLICE.findall(quick_svg(figure).replace(THEMED.accent, "var(--accent)"))
    return {keys[int(number)]: _shortened(path) for number, path in paths}


def _shortened(path: str) -> str:
    """One digit after the point, on one line."""
    return " ".join(re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), path).split())


def _bars(heights: Sequence[float], base: float) -> tuple[list[float], list[float]]:
    """One line [3n] that is drawn as n bars: up from the base, then a gap. A value at the base is still visible."""
    x, y, least = list[float](), list[float](), 1 / HEIGHT
    for number, height in enumerate(heights):
        place = (number + 0.5) / len(heights)
        x += [place, place, place]
        y += [base, height if abs(height - base) >= least else base + least, float("nan")]
    return x, y

"""Lines over an axis of numbers: training curves, a score over a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from emofuse.common.charts.drawing import NARROW, Drawing, legend, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours

MOST_NAMES, INSIDE = 12, 3
"""A chart with more named lines has no legend, as nobody could tell them apart; up to `INSIDE` it is inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line."""

    name: str = ""
    """In the legend; lines without a name are not listed."""
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    """The deviation of each value: bars above and below it."""
    colour: str | None = None
    """`#rrggbb`; by default the accent."""
    style: str = "-"
    """matplotlib's line style; "" for points alone."""
    marker: str = ""
    hollow: bool = False
    """Its markers are not filled: values that stand for little."""
    width: float = 1.4
    """In points."""
    alpha: float = 1.0
    chosen: Sequence[int] = field(default=())
    """Numbers of the values that a ring marks: the selected steps."""


def lines(
    curves: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    width: float = NARROW,
    height: float = 2.4,
    reference: float | None = None,
) -> Drawing:
    """Lines with rings around the chosen values.

    Args:
        curves: At least one.
        reference: A dashed horizontal line, such as chance.
    """

    def draw(colours: Colours) -> Any:
        figure = new_figure(colours, width, height)
        axes = new_axes(figure, colours, 1, 1, 1)
        for curve in curves:
            colour, name = curve.colour or colours.accent, plain(curve.name, 30) or None
            options = {"color": colour, "linewidth": curve.width, "alpha": curve.alpha, "markersize": 5, "label": name}
            form = {"marker": curve.marker or None, "linestyle": curve.style or "none"}
            form |= {"markerfacecolor": "none"} if curve.hollow else {}
            if curve.spread:
                axes.errorbar(curve.x, curve.y, curve.spread, capsize=3, **options, **form)
            else:
                axes.plot(curve.x, curve.y, **options, **form)
            ring = {
                "marker": "o",
                "linestyle": "none",
                "markersize": 7 if curve.width > 1 else 5,
                "markerfacecolor": "none",
            }
            at = [(curve.x[i], curve.y[i]) for i in curve.chosen]
            if at:
                axes.plot(*zip(*at, strict=True), **ring, color=colour, markeredgewidth=1.5 if curve.width > 1 else 1)
        if reference is not None:
            axes.axhline(reference, color=colours.muted, linestyle="--", linewidth=1)
        axes.set(xlabel=x_label, ylabel=y_label)
        named = len(axes.get_legend_handles_labels()[0])
        above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 4, "columnspacing": 1}
        if 0 < named <= MOST_NAMES:
            legend(axes, colours, **(above if named > INSIDE else {}))
        return figure

    return draw

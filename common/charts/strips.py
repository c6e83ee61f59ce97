"""Curves over one axis, with another curve in a strip below them: weights over time, and loudness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.charts.drawing import NARROW, Drawing, legend, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours, group_colours

Curve = tuple[Sequence[float], Sequence[float]]
"""x [n] and y [n]."""
STYLES = ("-", "--", ":", "-.")
LONGEST_BESIDE = 18
"""Characters of the longest name with which two names of a legend fit side by side."""


def strips(
    curves: Mapping[str, Curve],
    x_label: str,
    y_label: str,
    *,
    below: Curve | None = None,
    below_label: str = "",
    reference: float | None = None,
    ticks: Sequence[str] = (),
    width: float = NARROW,
) -> Drawing:
    """Curves from zero up, told apart by colour and line style.

    Args:
        curves: Name -> curve, at least one.
        below: A filled curve in the strip below.
        below_label: Of its axis.
        reference: A thin horizontal line.
        ticks: Names of x = 0, 1, ..., such as words; by default numbers.
        width: In inches.
    """

    def draw(colours: Colours) -> Any:
        across = 2 if len(curves) > 1 and max(map(len, curves)) <= LONGEST_BESIDE else 1
        colours_of, tall = group_colours(curves), 1.45 + 0.15 * -(-len(curves) // across)
        figure = new_figure(colours, width, tall + (0.65 if below else 0) + (0.45 if ticks else 0))
        if below is None:
            axes = lowest = new_axes(figure, colours, 1, 1, 1)
        else:
            axes, lowest = new_axes(figure, colours, 3, 1, (1, 2)), new_axes(figure, colours, 3, 1, 3, grid="")
            lowest.fill_between(*below, color=colours.muted, alpha=0.5, linewidth=0)
            lowest.set(ylabel=below_label, yticks=[], ylim=(0, None), xlim=axes.get_xlim())
            lowest.sharex(axes)
            axes.tick_params(labelbottom=False)
        for number, (name, (x, y)) in enumerate(curves.items()):
            style = {"color": colours_of[name], "linestyle": STYLES[number % len(STYLES)], "linewidth": 1.4}
            axes.plot(x, y, **style, marker="." if len(x) <= 40 else None, markersize=4, label=plain(name, 30))
        if reference is not None:
            axes.axhline(reference, color=colours.muted, linewidth=0.6)
        axes.set(ylabel=y_label, ylim=(0, None))
        lowest.set_xlabel(x_label)
        lowest.xaxis.get_major_locator().set_params(
            integer=all(float(x).is_integer() for xs, _ in curves.values() for x in xs)
        )
        if ticks:
            lowest.set_xticks(range(len(ticks)), [plain(tick, 12) for tick in ticks], rotation=45, ha="right",
                              rotation_mode="anchor", fontsize=7)  # fmt: skip
        legend(axes, colours, loc="lower left", bbox_to_anchor=(0, 1), ncols=across, columnspacing=0.8, borderaxespad=0)
        return figure

    return draw

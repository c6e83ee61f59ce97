"""Several values in each row, such as the score of each run for a class or a speaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.charts.drawing import NARROW, Drawing, legend, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours, group_colours, markers

SHORT = 10
"""Characters of a name of which three stand side by side in a legend."""


def dots(
    rows: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    label: str,
    *,
    notes: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    width: float = NARROW,
) -> Drawing:
    """Rows from top to bottom, each with a point of every series and a line from the lowest to the highest.

    Args:
        rows: n names.
        series: Name -> its value in each row [n], None where there is none; in the order of the legend.
        label: Of the axis.
        notes: [n], at the right end of the rows.
        limits: Of the axis.
    """

    across = 3 if max(map(len, series), default=0) <= SHORT else 2

    def draw(colours: Colours) -> Any:
        colours_of, shapes = group_colours(series), markers(series)
        figure = new_figure(colours, width, 0.75 + 0.24 * len(rows) + 0.16 * -(-len(series) // across))
        axes = new_axes(figure, colours, 1, 1, 1, grid="x")
        for y, of_row in enumerate(zip(*series.values(), strict=True)):
            known = [value for value in of_row if value is not None]
            if len(known) > 1:
                axes.plot([min(known), max(known)], [y, y], color=colours.grid, linewidth=3, solid_capstyle="butt")
        for name, values in series.items():
            points = [(value, y) for y, value in enumerate(values) if value is not None]
            x, y_of = zip(*points, strict=True) if points else ((), ())
            axes.plot(x, y_of, shapes[name], color=colours_of[name], markersize=5.5, markeredgewidth=0.5,
                      markeredgecolor=colours.paper, label=plain(name, 30), clip_on=False, zorder=3)  # fmt: skip
        axes.set_yticks(range(len(rows)), [plain(row, 20) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5), **({"xlim": limits} if limits else {}))
        if any(notes):
            right = axes.secondary_yaxis("right")
            right.set_yticks(range(len(rows)), [plain(note, 16) for note in notes])
            right.tick_params(length=0, labelsize=7, labelcolor=colours.muted)
            right.spines[:].set_visible(False)
        legend(axes, colours, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=across, columnspacing=0.8)
        return figure

    return draw

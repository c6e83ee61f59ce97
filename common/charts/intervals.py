"""Values with intervals, one row each: scores of groups, and the forest plot of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emofuse.common.charts.drawing import NARROW, Drawing, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row: a point, and where known its interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    colour: str | None = None
    """`#rrggbb`; by default the accent."""
    marked: bool = False
    """In the colour of warnings, with a bold name: the worst of a group."""
    note: str = ""
    """Stands at the right end of the row."""


def intervals(
    rows: Sequence[Bar],
    label: str,
    *,
    reference: float | None = None,
    limits: tuple[float, float] | None = None,
    width: float = NARROW,
) -> Drawing:
    """Points with intervals over one axis, from top to bottom.

    Args:
        rows: At least one.
        label: Of the axis.
        reference: A dashed vertical line: chance, or no difference.
        limits: Of the axis.
    """

    def draw(colours: Colours) -> Any:
        figure = new_figure(colours, width, 0.65 + 0.23 * len(rows))
        axes = new_axes(figure, colours, 1, 1, 1, grid="x")
        _points(axes, rows, colours)
        if reference is not None:
            axes.axvline(reference, color=colours.muted, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(rows)), [plain(row.name, 24) for row in rows])
        for row, tick in zip(rows, axes.get_yticklabels(), strict=True):
            if row.marked:
                tick.set(color=colours.warning, fontweight="bold")
        axes.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5), **({"xlim": limits} if limits else {}))
        axes.tick_params(axis="y", length=0)
        if any(row.note for row in rows):
            notes = axes.secondary_yaxis("right")
            notes.set_yticks(range(len(rows)), [plain(row.note, 16) for row in rows])
            notes.tick_params(length=0, labelsize=7, labelcolor=colours.muted)
            notes.spines[:].set_visible(False)
        return figure

    return draw


def _points(axes: Any, rows: Sequence[Bar], colours: Colours) -> None:
    """Points and intervals: rows of one look are one line of the chart, as a line each takes several times as long."""
    alike: dict[tuple[str, str], list[int]] = {}
    for y, row in enumerate(rows):
        look = (colours.warning, "D") if row.marked else (row.colour or colours.accent, "o")
        alike.setdefault(look, []).append(y)
    for (colour, marker), places in alike.items():
        known = [(y, rows[y].low, rows[y].high) for y in places if None not in (rows[y].low, rows[y].high)]
        x = [end for _, low, high in known for end in (low, high, float("nan"))]
        heights = [float(place) for place, _, _ in known for _ in range(3)]
        axes.plot(x, heights, color=colour, linewidth=2, solid_capstyle="butt", alpha=0.6)
        axes.plot([rows[y].value for y in places], places, marker, color=colour, markersize=5)

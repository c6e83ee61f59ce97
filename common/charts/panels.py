"""Several small charts in one figure, with one legend for all: the panels (a), (b), ... of a paper's figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emofuse.common.charts.drawing import WIDE, Drawing, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours

Painter = Callable[[Any, Colours], None]
"""Draws into matplotlib axes in these colours; the artists' labels make the legend."""


def panels(painters: Sequence[tuple[str, Painter]], *, columns: int = 2, width: float = WIDE) -> Drawing:
    """Square panels in rows.

    Args:
        painters: Title and content of each panel, at least one.
        columns: Panels beside each other, at most.
        width: In inches.
    """

    def draw(colours: Colours) -> Any:
        across = min(columns, len(painters))
        down = -(-len(painters) // across)
        figure = new_figure(colours, width, width / across * 0.9 * down + 0.3)
        handles: dict[str, Any] = {}
        for number, (title, paint) in enumerate(painters):
            axes = new_axes(figure, colours, down, across, number + 1, grid="")
            letter = f"({chr(ord('a') + number)}) " if len(painters) > 1 else ""
            axes.set_title(letter + plain(title, 60))
            paint(axes, colours)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        if handles:
            figure.legend([*handles.values()], [*handles], loc="outside upper center", ncols=6, fontsize=7.5,
                          frameon=False, labelcolor=colours.ink, markerscale=1.6, handletextpad=0.2)  # fmt: skip
        return figure

    return draw

"""How values are distributed in groups, one row each: median, quartiles, and the middle 90 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emofuse.common.charts.drawing import NARROW, Drawing, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def boxes(
    groups: Mapping[str, Sequence[float]],
    label: str,
    colours_of: Mapping[str, str] | None = None,
    *,
    width: float = NARROW,
) -> Drawing:
    """Rows from top to bottom: a thin line over the middle 90 % of the values, a bar over the middle half, a median.

    Args:
        groups: Name -> its values, at least one each; the number of values stands at the right end of the row.
        label: Of the axis.
        colours_of: Name -> colour; by default the accent.
    """

    def draw(colours: Colours) -> Any:
        figure = new_figure(colours, width, 0.65 + 0.24 * len(groups))
        axes = new_axes(figure, colours, 1, 1, 1, grid="x")
        for row, (name, values) in enumerate(groups.items()):
            low, first, median, third, high = np.quantile(np.asarray(values, np.float64), QUANTILES)
            colour = (colours_of or {}).get(name, colours.accent)
            axes.plot([low, high], [row, row], color=colour, linewidth=1.2)
            axes.plot([first, third], [row, row], color=colour, linewidth=7, solid_capstyle="butt", alpha=0.75)
            axes.plot([median], [row], "|", color=colours.ink, markersize=9, markeredgewidth=1.6)
        axes.set_yticks(range(len(groups)), [plain(name, 20) for name in groups])
        axes.set(xlabel=label, ylim=(len(groups) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        counts = axes.secondary_yaxis("right")
        counts.set_yticks(range(len(groups)), [f"n {len(values)}" for values in groups.values()])
        counts.tick_params(length=0, labelsize=7, labelcolor=colours.muted)
        counts.spines[:].set_visible(False)
        return figure

    return draw

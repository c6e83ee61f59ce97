"""Bars: counts and shares of named things, and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emofuse.common.charts.drawing import NARROW, Drawing, legend, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours


def stacked_bars(
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    colours_of: Mapping[str, str],
    label: str,
    *,
    width: float = NARROW,
) -> Drawing:
    """One horizontal bar for each name, from top to bottom, divided into parts.

    Args:
        names: n names.
        parts: Part -> its size in each bar [n].
        colours_of: Part -> colour.
        label: Of the axis.
    """

    def draw(colours: Colours) -> Any:
        figure = new_figure(colours, width, 0.9 + 0.22 * len(names))
        axes = new_axes(figure, colours, 1, 1, 1, grid="x")
        left = np.zeros(len(names))
        for part, sizes in parts.items():
            axes.barh(range(len(names)), sizes, 0.75, left, color=colours_of[part], label=plain(part, 18),
                      edgecolor=colours.paper, linewidth=0.5)  # fmt: skip
            left = left + np.asarray(sizes)
        axes.set_yticks(range(len(names)), [plain(name, 20) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))
        if 1 < len(parts) <= 14:
            legend(axes, colours, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, columnspacing=0.8)
        return figure

    return draw


def histogram(
    values: Sequence[float], label: str, *, bins: int | Sequence[float] = 30, count_label: str = "utterances"
) -> Drawing:
    """How many of the values [n] fall into each of equal intervals, or of those between the given edges."""

    def draw(colours: Colours) -> Any:
        figure = new_figure(colours, NARROW, 2.2)
        axes = new_axes(figure, colours, 1, 1, 1)
        axes.hist(list(values), bins=bins, color=colours.accent, edgecolor=colours.paper, linewidth=0.5)
        axes.set(xlabel=label, ylabel=count_label)
        return figure

    return draw

"""Points in a plane, coloured by what they belong to: maps of representations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.drawing import NARROW, Drawing, legend, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours, markers

MOST_NAMES = 12
"""The legend lists the largest groups; of more than this, the rest is drawn in one muted colour."""


def scatter(
    points: NDArray[Any],
    groups: Sequence[str],
    colours_of: Mapping[str, str],
    *,
    title: str = "",
    size: float = 12,
    width: float = NARROW,
) -> Drawing:
    """A map without axes, as its coordinates mean nothing.

    Args:
        points: [n, 2].
        groups: The group of each point.
        colours_of: Group -> colour, in the order of the legend.
        size: Of a point, in square points.
    """

    def draw(colours: Colours) -> Any:
        names = len([name for name in colours_of if name in set(groups)])
        figure = new_figure(colours, width, width * 0.9 + 0.16 * -(-min(names, MOST_NAMES) // 3))
        axes = new_axes(figure, colours, 1, 1, 1, grid="")
        if title:
            axes.set_title(plain(title, 60))
        paint_points(axes, colours, points, groups, colours_of, size=size)
        legend(axes, colours, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, columnspacing=0.8, markerscale=1.6,
               handletextpad=0.2, handlelength=1)  # fmt: skip
        return figure

    return draw


def paint_points(
    axes: Any,
    colours: Colours,
    points: NDArray[Any],
    groups: Sequence[str],
    colours_of: Mapping[str, str],
    *,
    size: float = 12,
    counted: bool = True,
) -> None:
    """Draw the points of a map into axes; arguments as `scatter`.

    Args:
        counted: The names for a legend have the number of points behind them.
    """
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    counts = {name: list(groups).count(name) for name in colours_of}
    largest = sorted(counts, key=lambda name: -counts[name])[:MOST_NAMES]
    named = [name for name in colours_of if counts[name] and name in largest]
    shapes, of_point = markers(named), np.array(groups)
    rest = points[~np.isin(of_point, named)]
    if len(rest):
        label = f"{len(rest)} others" if counted else "others"
        axes.plot(*rest.T, ".", color=colours.muted, markersize=2, alpha=0.5, label=label)
    for name in named:
        label = f"{plain(name, 18)} ({counts[name]})" if counted else plain(name, 18)
        axes.plot(
            *points[of_point == name].T, shapes[name], color=colours_of[name], markersize=size**0.5,
            markeredgewidth=0, alpha=0.85, label=label,
        )  # fmt: skip

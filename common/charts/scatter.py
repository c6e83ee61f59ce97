"""Points in a plane, coloured by what they belong to: maps of representations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.drawing import NARROW, Drawing, legend, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours, markers
from emofuse.common.output.console import printable

MOST_TITLES = 600
"""Each point with a title takes about 150 bytes of a page."""
MOST_NAMES = 12
"""The legend lists the largest groups; of more than this, the rest is drawn in one muted colour."""


def scatter(
    points: NDArray[Any],
    groups: Sequence[str],
    colours_of: Mapping[str, str],
    *,
    titles_of_points: Sequence[str] = (),
    title: str = "",
    size: float = 12,
    width: float = NARROW,
) -> Drawing:
    """A map without axes, as its coordinates mean nothing.

    Args:
        points: [n, 2].
        groups: The group of each point.
        colours_of: Group -> colour, in the order of the legend.
        titles_of_points: What a page shows of a point that is pointed at [n]; with more than `MOST_TITLES` nothing.
        size: Of a point, in square points.
    """
    titles = titles_of_points if len(titles_of_points) <= MOST_TITLES else ()

    def draw(colours: Colours) -> Any:
        names = len([name for name in colours_of if name in set(groups)])
        figure = new_figure(colours, width, width * 0.9 + 0.16 * -(-min(names, MOST_NAMES) // 3))
        axes = new_axes(figure, colours, 1, 1, 1, grid="")
        if title:
            axes.set_title(plain(title, 60))
        drawn = paint_points(axes, colours, points, groups, colours_of, size=size)
        if titles:
            figure.titles_of = {}
            for number, (name, line) in enumerate(drawn.items()):
                line.set_gid(f"group-{number}")
                of_group = [title for title, group in zip(titles, groups, strict=True) if group == name]
                figure.titles_of[f"group-{number}"] = [printable(title, 120) for title in of_group]
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
) -> dict[str, Any]:
    """Draw the points of a map into axes; arguments as `scatter`.

    Args:
        counted: The names for a legend have the number of points behind them.

    Returns:
        Each group that has a colour of its own -> the artist of its points.
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
    drawn = {}
    for name in named:
        label = f"{plain(name, 18)} ({counts[name]})" if counted else plain(name, 18)
        (drawn[name],) = axes.plot(
            *points[of_point == name].T, shapes[name], color=colours_of[name], markersize=size**0.5,
            markeredgewidth=0, alpha=0.85, label=label,
        )  # fmt: skip
    return drawn

"""A matrix of numbers as cells: confusion, shares of labels, a grid of settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.drawing import NARROW, Drawing, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours

CELL, SMALL_CELL, MOST_NUMBERS = 0.42, 0.32, 14
"""Inches of a cell, and with more rows than this: then cells below 1 in 10 of the scale have no number."""


def matrix(
    values: NDArray[Any],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    texts: NDArray[Any] | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
    signed: bool = False,
    axes_labels: tuple[str, str] = ("label", "prediction"),
    boxed: Collection[tuple[int, int]] = (),
    title: str = "",
) -> Drawing:
    """Cells whose opacity is their value.

    Args:
        values: [R, C]; NaN leaves a cell empty.
        rows: R names, from top to bottom.
        columns: C names.
        texts: What the cells say, [R, C] of str; by default nothing.
        scale: The values that are transparent and opaque.
        signed: Cells below 0 are as opaque as those above it, in the colour of warnings; texts should have signs.
        axes_labels: Of the rows, and of the columns.
        boxed: (row, column) of cells with a border: the selected ones.
    """

    def draw(colours: Colours) -> Any:
        longest = max(len(plain(name, 16)) for name in rows)
        side = SMALL_CELL if len(rows) > MOST_NUMBERS else CELL
        width, height = 0.6 + 0.07 * longest + side * len(columns), 0.6 + 0.06 * longest + side * len(rows)
        figure = new_figure(colours, max(width, NARROW), max(height, 2.2))
        axes = new_axes(figure, colours, 1, 1, 1, grid="")
        axes.spines[:].set_visible(False)
        sizes = np.abs(values) if signed else values
        levels = np.clip((sizes - scale[0]) / max(scale[1] - scale[0], 1e-12), 0, 1)
        _cells(axes, levels, colours, (values < 0) & signed)
        if texts is not None:
            _numbers(axes, levels, texts, colours, small=side < CELL)
        for i, j in boxed:
            axes.plot([j, j + 1, j + 1, j, j], [i, i, i + 1, i + 1, i], color=colours.warning, linewidth=2, zorder=3)
        if title:
            axes.set_title(plain(title, 60))
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, columns)) > 4 else {}
        axes.set_xticks(np.arange(len(columns)) + 0.5, [plain(c, 16) for c in columns], **turned)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [plain(r, 16) for r in rows])
        axes.tick_params(length=0, labelsize=8)
        axes.set(ylabel=axes_labels[0], xlabel=axes_labels[1], xlim=(0, len(columns)), ylim=(len(rows), 0))
        return figure

    return draw


def _cells(axes: Any, levels: NDArray[Any], colours: Colours, negative: NDArray[np.bool_]) -> None:
    """Cells of one colour and opacity (two digits) are one shape: 40 x 40 cells would be 1,600 elements of a page."""
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba
    from matplotlib.path import Path

    cells: dict[Any, list[Path]] = {}
    for (i, j), level in np.ndenumerate(levels):
        if np.isfinite(level):
            colour = colours.warning if negative[i, j] else colours.accent
            square = [(j, i), (j + 1, i), (j + 1, i + 1), (j, i + 1), (j, i)]
            cells.setdefault(to_rgba(colour, round(0.04 + 0.96 * float(level), 2)), []).append(
                Path(square, closed=True)
            )
    shapes = [Path.make_compound_path(*same) for same in cells.values()]
    axes.add_collection(PathCollection(shapes, facecolors=list(cells), edgecolors=colours.paper, linewidths=1))


def _numbers(axes: Any, levels: NDArray[Any], texts: NDArray[Any], colours: Colours, *, small: bool) -> None:
    for (i, j), level in np.ndenumerate(levels):
        if np.isfinite(level) and (not small or level >= 0.1):
            axes.text(
                j + 0.5, i + 0.5, str(texts[i, j]), ha="center", va="center", fontsize=6.5 if small else 7.5,
                color=colours.paper if level > 0.55 else colours.ink, parse_math=False,
            )  # fmt: skip

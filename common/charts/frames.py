"""Features over time as images: frames from left to right, dimensions from bottom to top, each block on its scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.drawing import WIDE, Drawing, new_axes, new_figure, plain
from emofuse.common.charts.palette import Colours

TALL, LOW = 2.3, 1.15
"""Inches of an image that is alone in its picture, and of one of several blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBlock:
    """Dimensions that share a colour scale."""

    values: NDArray[Any]
    """[T, D]; NaN leaves a cell empty."""
    first: int = 0
    """The number of its first dimension."""
    scale: tuple[float, float]
    """The values at the ends of the colour bar; values beyond them have the end's colour."""
    name: str = ""
    """Of the block, on its axis."""
    unit: str
    """Of the colour bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The blocks of one feature, from the first dimension on, over one time axis."""

    title: str
    blocks: Sequence[FrameBlock]
    seconds: float | None = None
    """Of all frames; None where they are not evenly spaced in time, as the tokens of a text."""


def frames(pictures: Sequence[Frames], *, width: float = WIDE) -> Drawing:
    """Images one below the other; the first dimensions of a feature are at the bottom.

    Args:
        pictures: At least one, each with at least one block.
        width: In inches.
    """

    def draw(colours: Colours) -> Any:
        rows = [(p, block) for p in pictures for block in reversed(p.blocks)]
        heights = [TALL if len(p.blocks) == 1 else LOW for p, _ in rows]
        figure = new_figure(colours, width, sum(heights) + 0.6 * len(pictures))
        grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
        for row, (picture, block) in enumerate(rows):
            axes = new_axes(figure, colours, grid[row], grid="")
            _image(figure, axes, colours, picture, block)
            if block is picture.blocks[-1]:
                axes.set_title(plain(picture.title, 90), loc="left", fontsize=9, color=colours.ink)
            if block is picture.blocks[0]:
                axes.set_xlabel("seconds" if picture.seconds else "frame")
            else:
                axes.tick_params(labelbottom=False)
        return figure

    return draw


def _image(figure: Any, axes: Any, colours: Colours, picture: Frames, block: FrameBlock) -> None:
    low, high = block.scale
    count, dimensions = block.values.shape
    image = axes.imshow(
        np.ma.masked_invalid(block.values.T), origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high,
        extent=(0, picture.seconds or count, block.first - 0.5, block.first + dimensions - 0.5),
    )  # fmt: skip
    axes.set_ylabel(plain(block.name, 24) or "dimension")
    bar = figure.colorbar(image, ax=axes, extend="both", pad=0.015, fraction=0.04)
    bar.set_label(plain(block.unit, 40), color=colours.muted, fontsize=7.5)
    bar.ax.tick_params(colors=colours.ink, labelsize=7, length=2)
    bar.outline.set_visible(False)

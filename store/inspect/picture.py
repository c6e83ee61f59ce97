"""A feature of one utterance as a picture in the terminal.

Time goes from left to right, dimensions from bottom to top. Colours span the 2nd to the 98th percentile, so that a few
large values do not darken the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from emofuse.store.inspect.picture_scale import colour_range

COLUMNS, ROWS = 72, 16
"""The largest picture in a terminal, in characters."""
SHADES = " .:-=+*#%@"
UPPER_HALF, LOWER_HALF = "▀", "▄"
VIRIDIS = np.array(
    [
        (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
        (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
    ]
)  # fmt: skip
PALETTE_STEPS = np.array([0, 95, 135, 175, 215, 255])
"""The six steps of each colour channel in a terminal's palette of 256."""
ColourMode = Literal["shades", "256", "24bit"]


def colour_mode(stream: TextIO, environ: Mapping[str, str]) -> ColourMode:
    """What `stream` can display: `shades` of text if it is not a terminal or NO_COLOR is set (https://no-color.org)."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        UPPER_HALF.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "shades"
    if not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return "shades"
    return "24bit" if environ.get("COLORTERM") in ("truecolor", "24bit") else "256"


def cell_means(values: NDArray[Any], columns: int, rows: int) -> NDArray[np.float64]:
    """Means over a grid of at most `rows` times `columns` cells.

    Args:
        values: [T, D]; a value that is not finite makes its cell NaN.
        columns: Cells along time, at most; a short utterance gets one per frame.
        rows: Cells along dimensions, at most.

    Returns:
        [rows, columns], the first dimensions first.
    """
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    along_time, along_dimensions = _cell_edges(values.shape[0], columns), _cell_edges(values.shape[1], rows)
    sums = np.add.reduceat(np.add.reduceat(finite, along_time[:-1], 0), along_dimensions[:-1], 1)
    means: NDArray[np.float64] = (sums / np.outer(np.diff(along_time), np.diff(along_dimensions))).T
    return means


def _cell_edges(count: int, most: int) -> NDArray[np.int64]:
    """[n + 1] edges that divide `count` into n cells of almost equal size, n at most `most`."""
    n = min(count, most)
    return np.arange(n + 1) * count // n


def draw(values: NDArray[Any], colours: ColourMode, rows: int = ROWS) -> tuple[list[str], tuple[float, float]]:
    """Draw a picture of text, at most 72 columns wide.

    Args:
        values: [T, D].
        colours: `shades` of text; or half blocks, two cells per character, in `256` or `24bit` colours.
        rows: Lines of text, at most.

    Returns:
        The lines, and the values at both ends of the colour scale.
    """
    grid = cell_means(values, COLUMNS, rows if colours == "shades" else 2 * rows)[::-1]
    low, high = colour_range(grid)
    levels = np.clip((grid - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(grid), np.nan, 0.5)
    if colours == "shades":
        steps = np.nan_to_num(np.rint(levels * (len(SHADES) - 1))).astype(int)
        return ["".join(SHADES[s] for s in row) for row in steps], (low, high)
    codes = _colour_codes(levels, colours)
    lines = []
    if len(codes) % 2:
        lines.append(_coloured_line([f"\x1b[38;{c}m" for c in codes[0]], LOWER_HALF))
        codes = codes[1:]
    for upper, lower in zip(codes[::2], codes[1::2], strict=True):
        pairs = zip(upper, lower, strict=True)
        lines.append(_coloured_line([f"\x1b[38;{u};48;{v}m" for u, v in pairs], UPPER_HALF))
    return lines, (low, high)


def _coloured_line(escapes: Sequence[str], block: str) -> str:
    """One block per escape sequence; a repeated sequence is written once."""
    before = ["", *escapes[:-1]]
    blocks = [block if code == last else code + block for code, last in zip(escapes, before, strict=True)]
    return "".join(blocks) + "\x1b[0m"


def _colour_codes(levels: NDArray[np.float64], colours: ColourMode) -> list[list[str]]:
    """The terminal's code for the colour of each cell; black where the level is NaN.

    Args:
        levels: [rows, columns], 0 to 1.
        colours: `256` or `24bit`.
    """
    position = np.nan_to_num(levels) * (len(VIRIDIS) - 1)
    below = np.minimum(position.astype(int), len(VIRIDIS) - 2)
    weight = (position - below)[..., None]
    rgb = np.rint(VIRIDIS[below] * (1 - weight) + VIRIDIS[below + 1] * weight).astype(int)
    rgb[np.isnan(levels)] = 0
    if colours == "24bit":
        return [[f"2;{r};{g};{b}" for r, g, b in row] for row in rgb.tolist()]
    steps = np.abs(rgb[..., None] - PALETTE_STEPS).argmin(-1)
    return [[f"5;{16 + 36 * r + 6 * g + b}" for r, g, b in row] for row in steps.tolist()]

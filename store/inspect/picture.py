"""A feature of one utterance as a picture: in the terminal, or as a PNG file.

Time goes from left to right, dimensions from bottom to top. Colours span the 2nd to the 98th percentile, so that a few
large values do not leave the rest in the dark.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError

COLUMNS, ROWS = 72, 16
SHADES = " .:-=+*#%@"
HALF, LOWER = "▀", "▄"
NO_PNG = "--png needs matplotlib: pip install 'emofuse[report]'"
VIRIDIS = np.array(
    [
        (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
        (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
    ]
)  # fmt: skip
CUBE = np.array([0, 95, 135, 175, 215, 255])
"""The six steps of each colour in a terminal's palette of 256."""
Colours = Literal["shades", "256", "24bit"]


def colours_of(stream: TextIO, environ: Mapping[str, str]) -> Colours:
    """What `stream` can show: shades of text where it is no terminal or NO_COLOR is set (https://no-color.org)."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        HALF.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "shades"
    if not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return "shades"
    return "24bit" if environ.get("COLORTERM") in ("truecolor", "24bit") else "256"


def cells(values: NDArray[Any], columns: int, rows: int) -> NDArray[np.float64]:
    """Averages over a grid of at most `rows` times `columns` cells.

    Args:
        values: [T, D]; what is not finite makes its cell NaN.
        columns: Cells along time, at most; short utterances get one per frame.
        rows: Cells along dimensions, at most.

    Returns:
        [rows, columns], the first dimensions first.
    """
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    along_time, along_dimensions = _edges(values.shape[0], columns), _edges(values.shape[1], rows)
    sums = np.add.reduceat(np.add.reduceat(finite, along_time[:-1], 0), along_dimensions[:-1], 1)
    averages: NDArray[np.float64] = (sums / np.outer(np.diff(along_time), np.diff(along_dimensions))).T
    return averages


def _edges(count: int, most: int) -> NDArray[np.int64]:
    n = min(count, most)
    return np.arange(n + 1) * count // n


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """The 2nd and the 98th percentile of what is finite."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite.astype(np.float64), (2, 98))
    return float(low), float(high)


def draw(values: NDArray[Any], colours: Colours) -> tuple[list[str], tuple[float, float]]:
    """The picture's lines, at most 72 columns and 16 rows, and the values at the ends of its scale.

    Args:
        values: [T, D].
        colours: `shades` of text; or half blocks, two cells to a character, in `256` or `24bit` colours.
    """
    grid = cells(values, COLUMNS, ROWS if colours == "shades" else 2 * ROWS)[::-1]
    low, high = limits(grid)
    levels = np.clip((grid - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(grid), np.nan, 0.5)
    if colours == "shades":
        steps = np.nan_to_num(np.rint(levels * (len(SHADES) - 1))).astype(int)
        return ["".join(SHADES[s] for s in row) for row in steps], (low, high)
    ink = _ink(levels, colours)
    lines = []
    if len(ink) % 2:
        lines.append(_run([f"\x1b[38;{c}m" for c in ink[0]], LOWER))
        ink = ink[1:]
    for upper, lower in zip(ink[::2], ink[1::2], strict=True):
        lines.append(_run([f"\x1b[38;{u};48;{v}m" for u, v in zip(upper, lower, strict=True)], HALF))
    return lines, (low, high)


def _run(codes: Sequence[str], block: str) -> str:
    """Blocks, each with its colour; a code that repeats is said once."""
    before = ["", *codes[:-1]]
    told = [block if code == last else code + block for code, last in zip(codes, before, strict=True)]
    return "".join(told) + "\x1b[0m"


def _ink(levels: NDArray[np.float64], colours: Colours) -> list[list[str]]:
    """The terminal's words for each cell's colour; black where it has no number."""
    at = np.nan_to_num(levels) * (len(VIRIDIS) - 1)
    below = np.minimum(at.astype(int), len(VIRIDIS) - 2)
    part = (at - below)[..., None]
    rgb = np.rint(VIRIDIS[below] * (1 - part) + VIRIDIS[below + 1] * part).astype(int)
    rgb[np.isnan(levels)] = 0
    if colours == "24bit":
        return [[f"2;{r};{g};{b}" for r, g, b in row] for row in rgb.tolist()]
    steps = np.abs(rgb[..., None] - CUBE).argmin(-1)
    return [[f"5;{16 + 36 * r + 6 * g + b}" for r, g, b in row] for row in steps.tolist()]


def png(pictures: Sequence[tuple[str, NDArray[Any], float | None]]) -> bytes:
    """One PNG with a picture for each (title, [T, D] values, frame rate in Hz or none).

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(NO_PNG) from None
    figure = Figure(figsize=(9, 3.2 * len(pictures)), layout="constrained")
    for axes, (title, values, rate) in zip(
        figure.subplots(len(pictures), 1, squeeze=False)[:, 0], pictures, strict=True
    ):
        low, high = limits(values)
        end = len(values) / rate if rate else len(values)
        shown = axes.imshow(
            values.T, origin="lower", aspect="auto", interpolation="nearest", cmap="viridis", vmin=low, vmax=high,
            extent=(0, end, -0.5, values.shape[1] - 0.5),
        )  # fmt: skip
        axes.set(xlabel="seconds" if rate else "frame", ylabel="dimension")
        axes.set_title(title, fontsize=9, parse_math=False)  # a `$` in a name is a dollar sign
        figure.colorbar(shown, ax=axes, extend="both")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in letters that the font lacks is shown as boxes, that is enough
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()

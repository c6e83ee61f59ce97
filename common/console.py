"""Plain text for people: aligned tables, sizes, and text from strangers made safe to print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

Say = Callable[[str], None]
"""Reports one line to the user."""


def say(line: str) -> None:
    """Print a line to stdout at once; where nobody reads any more (`| head`), the work goes on in silence."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(header: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """An aligned table; columns whose cells are all numbers stand flush right."""
    cells = [[str(c) for c in row] for row in rows]
    columns = list(zip(header, *cells, strict=True)) if cells else [(h,) for h in header]
    widths = [max(len(c) for c in column) for column in columns]
    right = [len(column) > 1 and all(_numeric(c) for c in column[1:]) for column in columns]

    def line(row: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        return indent + "  ".join(padded).rstrip()

    return "\n".join(line(row) for row in [list(header), *cells])


def _numeric(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").lstrip("-+").rstrip("%").isdigit() or cell in ("", "-", "nan")


def size(count: float) -> str:
    """Bytes as people read them, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def printable(text: str, width: int = 120) -> str:
    """Text from a file, without control characters (terminal escapes among them) and at most `width` long."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"

"""Saving a figure as a picture; needs the extra `report` (matplotlib)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from emofuse.common.disk.files import write_atomically
from emofuse.train.papers.results import ResultTable

NO_PICTURE = "no picture: it needs pip install 'emofuse[report]'"


def figure_type() -> Any | None:
    """matplotlib's Figure, or None if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure


def save(figure: Any, folder: Path, results: ResultTable) -> list[str]:
    """Write figure.png, with the differences from the paper's own conditions on top; returns a remark that names it."""
    if results.marks:
        figure.suptitle("; ".join(results.marks), fontsize=7, color="#a33", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(folder / "figure.png", buffer.getvalue())
    return [f"Picture: {folder / 'figure.png'}"]

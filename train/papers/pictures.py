"""Pictures of tables, where the extra `report` is installed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from emofuse.common.disk.files import put
from emofuse.train.papers.results import Sheet

NO_PICTURE = "no picture: it needs pip install 'emofuse[report]'"


def figure_type() -> Any | None:
    """matplotlib's Figure; none where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure


def save(figure: Any, folder: Path, sheet: Sheet) -> list[str]:
    """Write figure.png; what is not the paper's own conditions stands on the picture too."""
    if sheet.marks:
        figure.suptitle("; ".join(sheet.marks), fontsize=7, color="#a33", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    put(folder / "figure.png", buffer.getvalue())
    return [f"Picture: {folder / 'figure.png'}"]

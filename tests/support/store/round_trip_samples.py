"""The formats that can be exported, and where their exports go."""

from __future__ import annotations

from pathlib import Path

from emofuse.store.exchange import FORMATS

WRITTEN = [entry.name for entry in FORMATS if entry.value.write is not None]


def place(form: str, folder: Path) -> Path:
    return folder / ("out.parquet" if form == "parquet" else f"out-{form}")

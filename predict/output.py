"""Writes predictions as JSON Lines or CSV, one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from emofuse.common.disk.csv_table import csv_text
from emofuse.common.disk.files import refuse_unwritable
from emofuse.common.errors import UsageError
from emofuse.common.output.console import screen_text
from emofuse.predict.config import Format
from emofuse.predict.prediction import Prediction


class PredictionWriter:
    """Writes predictions to an open text file, each at once.

    Args:
        file: Where to write.
        format: `jsonl`, or `csv` with a header row.
        on_screen: Leave out what a terminal would take for a command.
    """

    def __init__(self, file: TextIO, format: Format, *, on_screen: bool = False) -> None:
        self._file, self._format, self._on_screen = file, format, on_screen
        self._begun = False

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        if self._format == "jsonl":
            self._put(json.dumps(prediction.record(), ensure_ascii=False) + "\n")
            return
        text = csv_text([prediction.row()])
        self._put(text.partition("\r\n")[2] if self._begun else text)
        self._begun = True

    def _put(self, text: str) -> None:
        self._file.write(screen_text(text.replace("\r\n", "\n")) if self._on_screen else text)

    def flush(self) -> None:
        """Hand over what was written so far."""
        self._file.flush()


def refuse_existing(out: Path) -> None:
    """Refuse a file that exists or cannot be written, before any work is done for it.

    Raises:
        UsageError: Names it.
    """
    if out.exists():
        raise UsageError(f"--out {out} already exists: delete it, or name another file")
    refuse_unwritable(out)


@contextmanager
def open_output(out: Path, format: Format) -> Iterator[PredictionWriter]:
    """A writer of a file that appears when the context ends without an error, complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield PredictionWriter(file, format)
        partial.replace(out)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

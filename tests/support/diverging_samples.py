"""A table one row of which diverges."""

from __future__ import annotations

from pathlib import Path

import pytest
import train_samples as samples
from paper_samples import raw

from emofuse.train.papers.results import Sheet
from emofuse.train.papers.table import Table, parse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("diverged")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def with_a_diverging_row(folder: Path) -> Table:
    rows = raw(folder)["rows"]
    return parse("tiny-table9", raw(folder, rows=[{**rows[1], "set": ["lr=1e30", "hidden=8"]}, rows[2]]))


def stood_alone(table: Table, sheet: Sheet, where: Path) -> None:
    """The first row has diverged, the second has its figures."""
    diverged, whole = sheet.of(table.tasks[0])
    assert (diverged.state, diverged.cells["UA"].mean) == ("diverged: the loss became NaN or infinite", None)
    assert whole.state == "run"
    assert "diverged" in (where / "table.md").read_text()
    assert [text.startswith("Audio on ") for text in sheet.diverged.values()] == [True]

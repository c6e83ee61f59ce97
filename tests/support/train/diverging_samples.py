"""A table with a row that diverges."""

from __future__ import annotations

from pathlib import Path

from paper_samples import raw

from emofuse.train.papers.published_table import Table, parse
from emofuse.train.papers.results import ResultTable


def with_a_diverging_row(folder: Path) -> Table:
    """Two rows on the store in `folder`; the first one diverges."""
    rows = raw(folder)["rows"]
    return parse("tiny-table9", raw(folder, rows=[{**rows[1], "set": ["lr=1e30", "hidden=8"]}, rows[2]]))


def only_the_first_row_diverged(table: Table, results: ResultTable, where: Path) -> None:
    """The first row has diverged, the second has its figures."""
    diverged, whole = results.rows_of(table.tasks[0])
    assert (diverged.state, diverged.cells["UA"].mean) == ("diverged: the loss became NaN or infinite", None)
    assert whole.state == "run"
    assert "diverged" in (where / "table.md").read_text()
    assert [text.startswith("Audio on ") for text in results.diverged.values()] == [True]

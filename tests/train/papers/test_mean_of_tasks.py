"""The mean of a row over several tasks, which the slides print as a column of its own."""

from __future__ import annotations

import csv
import io

import pytest

from emofuse.train.papers.output import table_text
from emofuse.train.papers.published_table import TableTask, load
from emofuse.train.papers.results import ResultCell, ResultRow, ResultTable

TABLE = load("slides-table1")
IEMOCAP, SAVEE, SENTENCES = TABLE.tasks
FUSION, T5 = "TRILL-T5 Multimodal Fusion", "Text-to-Text Transformer (T5)"


def results(skipped: dict[str, str] | None = None, **wa: dict[str, float]) -> ResultTable:
    """The table with our accuracies, as protocol={row: figure}."""
    table = ResultTable(table=TABLE, marks=[], conditions={}, skipped_tasks=skipped or {})
    for task in TABLE.tasks:
        for name, figure in wa.get(task.protocol, {}).items():
            table.finished[task.protocol, name] = finished(name, task, figure)
    return table


def finished(name: str, task: TableTask, figure: float) -> ResultRow:
    cells = {c: ResultCell(mean=figure if m == "wa" else 1.0, deviation=1.0, count=4) for c, m in task.metrics.items()}
    return ResultRow(row=TABLE.row(name), task=task, cells=cells, state="run", run="runs/x")


def mean_rows(table: ResultTable) -> dict[str, ResultRow]:
    block = table.shown_blocks[-1]
    assert block.protocol == "mean"
    return {r.row.name: r for r in table.rows_of(block)}


def test_ours_is_the_mean_over_the_corpora_beside_the_printed_one() -> None:
    rows = mean_rows(results(iemocap4={FUSION: 80.0, T5: 70.0}, savee7={FUSION: 71.0}))
    cell = rows[FUSION].cells["Mean"]
    assert (cell.mean, cell.deviation, cell.count, cell.published) == (75.5, None, 8, 78.8)
    assert cell.difference == pytest.approx(-3.3)
    # Half a mean is none.
    assert (rows[T5].state, rows[T5].cells["Mean"].mean, rows[T5].cells["Mean"].published) == ("not run", None, 75.5)
    assert not any("no sentence" in name for name in rows)


def test_without_the_store_of_one_corpus_there_is_no_mean() -> None:
    table = results({"savee7": "no store of savee was given"}, iemocap4={FUSION: 80.0})
    assert [b.protocol for b in table.shown_blocks] == ["iemocap4", "savee7-sentences"]
    assert "mean of iemocap4" not in table_text.screen(table)


def test_a_mean_is_in_every_output_under_the_names_of_its_corpora() -> None:
    table = results(iemocap4={FUSION: 80.0}, savee7={FUSION: 71.0})
    for text in (table_text.screen(table), table_text.markdown(table), table_text.latex(table)):
        assert "mean of iemocap4 and savee7" in text
        assert "75.5" in text
    rows = csv.DictReader(io.StringIO(table_text.comma_separated(table)))
    (line,) = (r for r in rows if (r["task"], r["row"]) == ("mean", FUSION))
    assert (line["column"], line["measure"], line["ours"], line["paper"]) == ("Mean", "wa", "75.5", "78.8")

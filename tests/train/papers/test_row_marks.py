"""The marks of `reproduce`: rows that differ from the row above them beyond chance."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from paper_samples import TINY, raw, request, run

from emofuse.train import compare
from emofuse.train.papers.published_table import parse
from emofuse.train.papers.results import ResultTable


def results_of(folder: Path, names: dict[str, dict[str, Any]], **options: Any) -> tuple[ResultTable, Path]:
    rows = [{"name": name, "set": list(TINY), **row} for name, row in names.items()]
    return run(request(folder, parse("tiny-table9", raw(folder, rows=rows)), **options))[:2]


def footnote(results: ResultTable) -> str:
    return next(line for line in results.remarks if line.startswith("* on "))


def test_a_row_that_differs_from_the_row_above_is_marked(folder: Path) -> None:
    rows = {"Audio": {"model": "audio"}, "Concat": {"model": "concat"}}
    results, where = results_of(folder, rows, steps=40)
    audio, concat = results.rows_of(results.table.tasks[0])
    found = compare(runs=[concat.run, audio.run], say=lambda line: None)
    cell = concat.cells["UA"]
    assert cell.p_above == found.pairs[0].differences["ua"].p < 0.05
    assert (cell.differs, audio.cells["UA"].differs, audio.cells["UA"].p_above) == (True, False, None)
    assert "8 speakers, all exchanges; Holm's correction over 1 row" in footnote(results)
    assert "The 8 speakers share 4 sessions and are taken as independent." in footnote(results)
    assert footnote(results) in (where / "table.md").read_text()
    assert f"{cell.mean:.1f} ± {cell.deviation:.1f}*" in (where / "table.md").read_text()
    assert f"{cell.mean:.1f} $\\pm$ {cell.deviation:.1f}*" in (where / "table.tex").read_text()
    with (where / "table.csv").open(newline="") as file:
        read = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
    assert read["Concat", "UA"]["differs_from_row_above"] == "yes"
    assert float(read["Concat", "UA"]["p_row_above"]) == cell.p_above
    assert read["Audio", "UA"]["differs_from_row_above"] == ""


def test_holm_is_over_the_rows_of_a_column(folder: Path) -> None:
    rows = {"Audio": {"model": "audio"}, "Concat": {"model": "concat"}, "Text": {"model": "text"}}
    results, _ = results_of(folder, rows, steps=40)
    audio, concat, text = results.rows_of(results.table.tasks[0])
    each = [
        compare(runs=pair, say=lambda line: None).pairs[0].differences["ua"].p
        for pair in ([audio.run, concat.run], [concat.run, text.run])
    ]
    corrected = sorted(cell.p_above or 0 for cell in (concat.cells["UA"], text.cells["UA"]))
    assert corrected == [min(1, 2 * min(each)), max(2 * min(each), max(each))]


def test_where_no_row_can_be_marked_the_footnote_says_so(folder: Path) -> None:
    rows = {"Audio": {"model": "audio"}, "Concat": {"model": "concat"}}
    results, _ = results_of(folder, rows, folds="1")
    assert "No row can be marked: with 2 speakers no p below 0.5 is possible." in footnote(results)


def test_one_run_and_a_missing_modality_are_not_tested(folder: Path) -> None:
    small = ["width=8", "heads=2", "feedforward=16", "tokens=3", "batch=16", "lr=0.01"]
    rows = {
        "Full": {"model": "msmser", "set": small},
        "Full again": {"model": "msmser", "set": small},
        "Full (only text)": {"model": "msmser", "set": small, "without": "audio"},
    }
    results, _ = results_of(folder, rows)
    assert {c.p_above for row in results.rows_of(results.table.tasks[0]) for c in row.cells.values()} == {None}
    assert not [line for line in results.remarks if line.startswith("* on ")]

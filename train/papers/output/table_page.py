"""A table of results as a page: our figures beside the paper's, the figure, all remarks, and the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emofuse.common.charts.dots import dots
from emofuse.common.page.blocks import (
    Cell,
    Chart,
    Column,
    Commands,
    Link,
    Page,
    Section,
    Table,
    Text,
    Warnings,
)
from emofuse.common.page.links import relative_link
from emofuse.manifests.metrics.scores import METRICS
from emofuse.train.fitting.file_names import PAGE
from emofuse.train.papers.output.row_notes import TableNotes, table_notes
from emofuse.train.papers.output.table_text import cells, footnotes, headline, remark, warnings
from emofuse.train.papers.paper_figure import PaperFigure
from emofuse.train.papers.published_table import TableTask
from emofuse.train.papers.results import ResultRow, ResultTable

HELP = {
    "ours": "Mean ± standard deviation over folds and seeds; * where it differs from the row above beyond chance",
    "paper": "As printed",
    "difference": "Ours minus the paper's",
}


def table_page(results: ResultTable, folder: Path, command: str, figure: PaperFigure | None = None) -> Page:
    """The page of a table.

    Args:
        results: The table.
        folder: Where the page will be: links lead from there to the pages of the runs.
        command: What makes it.
        figure: What the table draws; charts of ours beside the paper's stand in for it where it draws nothing.
    """
    table, notes = results.table, table_notes(results)
    blocks: list[Any] = []
    if lines := _warnings(results, notes):
        blocks.append(Warnings(lines=lines))
    blocks += figure.charts if figure else []
    for number, task in enumerate(results.shown_blocks):
        blocks.append(_table(results, task, notes, folder, number))
        blocks += [] if table.figure else _charts(results, task, number)
    if notes.letters:
        blocks.append(Text(lines=notes.explained()))
    return Page(
        title=f"{table.where}: {table.about}",
        subtitle=table.paper,
        sections=[
            Section(name="result", title="Ours beside the paper's", blocks=blocks),
            Section(name="notes", title="Notes", blocks=[Text(lines=footnotes(results))]),
            Section(
                name="command",
                title="Command",
                blocks=[Commands(name="reproduce", title="Makes, resumes or reads this table", commands=[command])],
            ),
        ],
    )


def _warnings(results: ResultTable, notes: TableNotes) -> list[str]:
    """What a reader must know before comparing ours with the paper's, each once."""
    lines = [line.rstrip(".") for line in warnings(results)]
    several = len(results.shown_blocks) > 1
    for task in results.shown_blocks:
        where = f" on {task.protocol}" if several else ""
        lines += [f"every row of ours{where}: {note}" for note in notes.shared[task.protocol]]
    waiting = [r.row.name for t in results.shown_blocks for r in results.rows_of(t) if r.state == "not run"]
    if waiting:
        lines.append(f"not run, so without figures of ours: {', '.join(dict.fromkeys(waiting))}")
    return [*lines, *results.diverged.values()]


def _table(results: ResultTable, task: TableTask, notes: TableNotes, folder: Path, number: int) -> Table:
    heads = [Column(name=f"{c}, {h}", help=text) for c in task.metrics for h, text in HELP.items()]
    rows = [
        [r.row.name, *cells(results, task, r), remark(notes, r), _run_link(r, folder)] for r in results.rows_of(task)
    ]
    columns = [Column(name="row"), *heads, Column(name="note", help="Letters are explained below"), Column(name="run")]
    used = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    columns, rows = [columns[i] for i in used], [[row[i] for i in used] for row in rows]
    return Table(name=f"table-{number + 1}", title=headline(results, task), columns=columns, rows=rows)


def _run_link(row: ResultRow, folder: Path) -> Cell:
    """The run's page, or the name of its folder where it has none."""
    page = Path(row.run) / PAGE
    href = relative_link(page, folder) if row.run and page.is_file() else None
    return Link(text=Path(row.run).name, href=href) if href else Path(row.run).name


def _charts(results: ResultTable, task: TableTask, number: int) -> list[Chart]:
    """Ours and the paper's for each score of all classes, where both have some."""
    charts = []
    for place, (column, measure) in enumerate(task.metrics.items()):
        rows = [r for r in results.rows_of(task) if r.cells[column].mean is not None or r.cells[column].published]
        series: dict[str, Sequence[float | None]] = {
            "ours": [r.cells[column].mean for r in rows],
            "paper": [r.cells[column].published for r in rows],
        }
        if measure not in METRICS or len(rows) < 2 or not all(any(values) for values in series.values()):
            continue
        factor, decimals = results.scale
        unit = " in percent" if factor == 100 else ""
        seen = [
            f"{row.row.name} {' and '.join(f'{name} {v[i]:.{decimals}f}' for name, v in series.items() if v[i])}"
            for i, row in enumerate(rows)
        ]
        charts.append(
            Chart(
                name=f"chart-{number + 1}-{place + 1}",
                title=f"{column}, ours and the paper's" + (f", {task.title}" if len(results.shown_blocks) > 1 else ""),
                alt=f"{column}{unit}: {'; '.join(seen)}.",
                drawing=dots([r.row.name for r in rows], series, f"{column}{unit}"),
            )
        )
    return charts

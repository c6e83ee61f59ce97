"""From finished runs to a table's cells: our mean and deviation over folds and seeds, beside the published figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.disk.run_folder import read_json
from emofuse.train.papers.published_table import UNITS, Table, TableRow, TableTask
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.reporting.caveats import caveats

MARK = "*"
"""After a figure of ours that differs from the row above beyond chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCell:
    """Our figure and the paper's, both in the paper's unit; None where there is none."""

    mean: float | None = None
    deviation: float | None = None
    """Sample standard deviation over folds and seeds; None for a single value."""
    count: int = 0
    """Folds times seeds."""
    published: float | None = None
    p_above: float | None = None
    """Corrected p of our difference to the row above; None where it is not tested (`row_marks`)."""
    differs: bool = False
    """Whether ours differs from the row above beyond chance."""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.mean is None or self.published is None else self.mean - self.published


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A row on one task."""

    row: TableRow
    task: TableTask
    cells: Mapping[str, ResultCell]
    """Printed name of a column -> cell."""
    notes: tuple[str, ...] = ()
    state: str = "not run"
    """`run`, `cited`, or why we have no figures."""
    run: str = ""
    """The run folder."""


@dataclass(slots=True, kw_only=True)
class ResultTable:
    """A table with our figures so far, and the remarks that belong in all its outputs."""

    table: Table
    marks: Sequence[str]
    """Differences from the paper's own conditions."""
    conditions: Mapping[str, str]
    """Protocol -> how it is run: features, selection, seeds."""
    skipped_tasks: Mapping[str, str]
    """Protocol -> why none of its rows is run."""
    skipped_rows: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(protocol, row) -> why that row is not run."""
    finished: dict[tuple[str, str], ResultRow] = field(default_factory=dict)
    """(protocol, row) -> its figures."""
    diverged: dict[tuple[str, str], str] = field(default_factory=dict)
    """(protocol, row) -> which of its trainings diverged, and where."""
    excluded: set[str] = field(default_factory=set)
    """Ids of utterances that a run excluded."""
    remarks: list[str] = field(default_factory=list)
    """Remarks of the drawing, printed under the table."""

    def rows_of(self, task: TableTask) -> list[ResultRow]:
        """All rows of a task in the table's order, also cited ones and those without our own results."""
        return [self._row_of(row, task) for row in self.table.rows if task.protocol in row.tasks]

    def _row_of(self, row: TableRow, task: TableTask) -> ResultRow:
        if task.mean_of:
            return self._mean_row(row, task)
        return self.finished.get((task.protocol, row.name)) or self._without_figures(row, task)

    def _mean_row(self, row: TableRow, mean: TableTask) -> ResultRow:
        """The mean of a row's figures on several tasks; without figures of ours where one of them has none."""
        rows = [self._row_of(row, task) for task in self.table.tasks if task.protocol in mean.mean_of]
        cells = published_cells(row, mean)
        without = next((r for r in rows if r.state != "run"), None)
        if without is not None:
            return ResultRow(row=row, task=mean, cells=cells, state=without.state)
        for column, measure in mean.metrics.items():
            each = [r.cells[name] for r in rows for name, m in r.task.metrics.items() if m == measure]
            values = [cell.mean for cell in each if cell.mean is not None]
            value = float(np.mean(values)) if len(values) == len(each) else None
            cells[column] = replace(cells[column], mean=value, count=sum(cell.count for cell in each))
        return ResultRow(row=row, task=mean, cells=cells, notes=(row.note,) if row.note else (), state="run")

    def _without_figures(self, row: TableRow, task: TableTask) -> ResultRow:
        key = (task.protocol, row.name)
        if row.cited:
            reason = "cited"
        elif key in self.diverged:
            reason = "diverged: the loss became NaN or infinite"
        else:
            reason = self.skipped_rows.get(key) or self.skipped_tasks.get(task.protocol, "not run")
        return ResultRow(row=row, task=task, cells=published_cells(row, task), state=reason)

    @property
    def run_tasks(self) -> list[TableTask]:
        """The tasks for which there are stores."""
        return [t for t in self.table.tasks if t.protocol not in self.skipped_tasks]

    @property
    def shown_blocks(self) -> list[TableTask]:
        """`run_tasks`, then the mean of several tasks, if there are stores for all of these."""
        return [b for b in self.table.blocks if not {b.protocol, *b.mean_of} & set(self.skipped_tasks)]

    @property
    def scale(self) -> tuple[int, int]:
        """(factor, decimals) of this paper's figures."""
        return UNITS[self.table.unit]


def published_cells(row: TableRow, task: TableTask) -> dict[str, ResultCell]:
    """The cells of a row with only the paper's figures."""
    figures = row.published.get(task.protocol, {})
    return {column: ResultCell(published=figures.get(column)) for column in task.metrics}


def result_row(results: ResultTable, row: TableRow, task: TableTask, finished: Run, notes: Sequence[str]) -> ResultRow:
    """A row with the figures of its finished run.

    Args:
        results: The table that the row belongs to.
        row: The row.
        task: The task that it was run on.
        finished: Its run.
        notes: Remarks on the run, printed beside the figures.
    """
    folds = fold_results(finished.folder, finished.metrics)
    factor, cells = results.scale[0], {}
    for column, published in published_cells(row, task).items():
        figures = [fold_figure(fold, task.metrics[column], row.without) for fold in folds]
        values = [factor * figure for figure in figures if figure is not None]
        cells[column] = ResultCell(
            mean=float(np.mean(values)) if values else None,
            deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
            count=len(values),
            published=published.published,
        )
    notes = [*([row.note] if row.note else []), *notes, *_run_notes(task, finished)]
    return ResultRow(row=row, task=task, cells=cells, notes=tuple(notes), state="run", run=str(finished.folder))


def _run_notes(task: TableTask, finished: Run) -> list[str]:
    """Columns without a class, excluded utterances, and the run's caveats."""
    notes, metrics = [], finished.metrics
    classes = [m.partition(":")[2] for m in task.metrics.values() if m.startswith("recall:")]
    unknown = [name for name in classes if name not in metrics["classes"]]
    if unknown:
        notes.append(f"no class {' or '.join(unknown)} in protocol {metrics['protocol']}")
    if finished.excluded:
        notes.append(f"{len(finished.excluded)} utterances without an up-to-date feature are excluded")
    return [*notes, *caveats(metrics)]


def fold_results(out: Path, metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results of every fold under every seed, from a run folder and its metrics.json."""
    if "seeds" not in metrics:
        return list(metrics["folds"])
    return [fold for seed in metrics["seeds"] for fold in read_json(out / f"seed_{seed}" / "metrics.json")["folds"]]


def fold_figure(fold: Mapping[str, Any], measure: str, without: str | None) -> float | None:
    """One measure of one fold as a fraction.

    None where the fold does not have the class, and for a recall with a modality absent (`without`).
    """
    kind, _, name = measure.partition(":")
    if kind == "recall":
        return None if without else fold["recall"].get(name)
    return float((fold["without"][without] if without else fold["test"])[measure])

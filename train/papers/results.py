"""From finished runs to a table's cells: ours, mean and deviation over folds and seeds, beside the published figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.disk.run_folder import read_json
from emofuse.train.papers.table import UNITS, Table, TableRow, TableTask
from emofuse.train.runs.run import Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of ours and of the paper's, both in the paper's unit; none where there is none."""

    mean: float | None = None
    deviation: float | None = None
    """Sample deviation over folds and seeds; none for a single value."""
    count: int = 0
    """Folds times seeds."""
    published: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus theirs."""
        return None if self.mean is None or self.published is None else self.mean - self.published


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row on a task."""

    row: TableRow
    task: TableTask
    cells: Mapping[str, Cell]
    """Printed name of the column -> cell."""
    notes: tuple[str, ...] = ()
    state: str = "not run"
    """`run`, `cited`, or why there is nothing of ours."""
    run: str = ""
    """The run folder."""


@dataclass(slots=True, kw_only=True)
class Sheet:
    """A table as it stands: lines in the table's order, and what must be said with every one of its outputs."""

    table: Table
    marks: Sequence[str]
    protocols: Mapping[str, str]
    """Task -> how it was run: protocol, features, selection, seeds."""
    left_out: Mapping[str, str]
    """Task -> why none of its rows is run."""
    skipped: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(protocol, row) -> why that row is not run."""
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    """(protocol, row) -> line."""
    diverged: dict[tuple[str, str], str] = field(default_factory=dict)
    """(protocol, row) -> which of its trainings diverged, and where."""
    excluded: set[str] = field(default_factory=set)
    """Utterances that some run had to leave out."""
    remarks: list[str] = field(default_factory=list)
    """What a figure adds under the table."""

    def of(self, task: TableTask) -> list[Line]:
        """The lines of a task, cited and not yet run ones too."""
        return [
            self.lines.get((task.protocol, row.name)) or self._empty(row, task)
            for row in self.table.rows
            if task.protocol in row.tasks
        ]

    def _empty(self, row: TableRow, task: TableTask) -> Line:
        key = (task.protocol, row.name)
        if row.cited:
            reason = "cited"
        elif key in self.diverged:
            reason = "diverged: the loss became NaN or infinite"
        else:
            reason = self.skipped.get(key) or self.left_out.get(task.protocol, "not run")
        return Line(row=row, task=task, cells=published(row, task), state=reason)

    @property
    def run_tasks(self) -> list[TableTask]:
        """The tasks for which there are stores."""
        return [t for t in self.table.tasks if t.protocol not in self.left_out]

    @property
    def scale(self) -> tuple[int, int]:
        """Times what, and with how many decimals, this paper prints."""
        return UNITS[self.table.unit]


def published(row: TableRow, task: TableTask) -> dict[str, Cell]:
    """The cells of a row with the paper's figures alone."""
    figures = row.published.get(task.protocol, {})
    return {column: Cell(published=figures.get(column)) for column in task.metrics}


def line(sheet: Sheet, row: TableRow, task: TableTask, finished: Finished, told: Sequence[str]) -> Line:
    """The line that a finished run gives.

    Args:
        told: What must be said of it beside its figures.
    """
    folds = fold_results(finished.out, finished.metrics)
    factor, cells = sheet.scale[0], {}
    for column, empty in published(row, task).items():
        values = [v for r in folds if (v := measured(r, task.metrics[column], row.without)) is not None]
        values = [factor * v for v in values]
        cells[column] = Cell(
            mean=float(np.mean(values)) if values else None,
            deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
            count=len(values),
            published=empty.published,
        )
    notes = [*([row.note] if row.note else []), *told]
    strange = [m for m in task.metrics.values() if m.startswith("recall:")]
    strange = [m.partition(":")[2] for m in strange if m.partition(":")[2] not in finished.metrics["classes"]]
    if strange:
        notes.append(f"no class {' or '.join(strange)} in protocol {finished.metrics['protocol']}")
    if finished.excluded:
        notes.append(f"{len(finished.excluded)} utterances without an up-to-date feature are excluded")
    if finished.metrics["reduced"]:
        found, expected = (finished.metrics["reduced"][k] for k in ("found", "expected"))
        notes.append(f"reduced task: {found} of {expected} utterances (--allow-missing)")
    return Line(row=row, task=task, cells=cells, notes=tuple(notes), state="run", run=str(finished.out))


def fold_results(out: Path, metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What every fold of every seed gave."""
    if "seeds" not in metrics:
        return list(metrics["folds"])
    return [fold for seed in metrics["seeds"] for fold in read_json(out / f"seed_{seed}" / "metrics.json")["folds"]]


def measured(fold: Mapping[str, Any], measure: str, without: str | None) -> float | None:
    """One figure of a fold; none where its classes do not know it, or for a recall with a modality absent."""
    kind, _, name = measure.partition(":")
    if kind == "recall":
        return None if without else fold["recall"].get(name)
    return float((fold["without"][without] if without else fold["test"])[measure])

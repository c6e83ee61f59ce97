"""The papers' figures, from runs that are finished: a line over a setting, a grid of decision weights, t-SNE panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from emofuse.train.papers.grid import grid
from emofuse.train.papers.jobs import RowJob
from emofuse.train.papers.pictures import NO_PICTURE, figure_type, save
from emofuse.train.papers.results import Sheet
from emofuse.train.papers.table import Table
from emofuse.train.papers.tsne import tsne


def draw(table: Table, sheet: Sheet, work: Sequence[RowJob], folder: Path, say: Callable[[str], None]) -> list[str]:
    """Draw a table's figure into `folder`; what is to be said under the table is returned."""
    assert table.figure is not None
    if sheet.diverged and table.figure.kind != "line":  # a line has a gap there
        return [f"{table.where} is not drawn, as not all of its rows have figures."]
    say(f"drawing {table.where}")
    return {"line": line, "grid": grid, "tsne": tsne}[table.figure.kind](table, sheet, work, folder)


def line(table: Table, sheet: Sheet, work: Sequence[RowJob], folder: Path) -> list[str]:
    """Each column over the setting that the rows vary."""
    assert table.figure is not None
    ((setting, values),) = table.figure.over.items()
    kind = figure_type()
    if kind is None:
        return [NO_PICTURE]
    figure = kind(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for task in table.tasks:
        lines = [x for x in sheet.of(task) if not x.row.cited]
        for column in task.metrics:
            cells = [x.cells[column] for x in lines]
            ours = [(v, c.mean, c.deviation or 0.0) for v, c in zip(values, cells, strict=True) if c.mean is not None]
            if ours:
                x, y, spread = zip(*ours, strict=True)
                axes.errorbar(x, y, spread, marker="o", capsize=3, label=f"{column}, ours")
            theirs = [(v, c.published) for v, c in zip(values, cells, strict=True) if c.published is not None]
            if theirs:
                axes.plot(*zip(*theirs, strict=True), "*", markersize=10, label=f"{column}, paper")
    axes.set_xlabel(setting)
    axes.set_ylabel(table.unit)
    axes.legend(fontsize=7)
    return save(figure, folder, sheet)

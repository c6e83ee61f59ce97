"""The papers' figures, drawn from finished runs: a line over a setting, a grid of decision weights, t-SNE panels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emofuse.common.console import Say
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.row_jobs import RowJob
from emofuse.train.papers.save_figure import NO_PICTURE, figure_type, save
from emofuse.train.papers.tsne import draw_tsne
from emofuse.train.papers.weight_grid import draw_grid


def draw(results: ResultTable, jobs: Sequence[RowJob], folder: Path, say: Say) -> list[str]:
    """Draw the figure of a table into `folder`; returns the remarks to print under the table."""
    table = results.table
    assert table.figure is not None
    if results.diverged and table.figure.kind != "line":  # a line has a gap there
        return [f"{table.where} is not drawn, as not all of its rows have figures."]
    say(f"drawing {table.where}")
    if table.figure.kind == "line":
        return draw_line(results, folder)
    return {"grid": draw_grid, "tsne": draw_tsne}[table.figure.kind](results, jobs, folder)


def draw_line(results: ResultTable, folder: Path) -> list[str]:
    """Draw each column over the setting that the rows vary."""
    table = results.table
    assert table.figure is not None
    ((setting, values),) = table.figure.over.items()
    new_figure = figure_type()
    if new_figure is None:
        return [NO_PICTURE]
    figure = new_figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for task in table.tasks:
        rows = [r for r in results.rows_of(task) if not r.row.cited]
        for column in task.metrics:
            cells = [r.cells[column] for r in rows]
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
    return save(figure, folder, results)

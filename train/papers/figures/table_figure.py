"""The papers' figures, drawn from finished runs: a line over a setting, a grid of decision weights, t-SNE panels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emofuse.common.charts.drawing import picture
from emofuse.common.charts.lines import Line, lines
from emofuse.common.charts.palette import group_colours, markers
from emofuse.common.disk.files import write_atomically
from emofuse.common.output.console import Say
from emofuse.common.output.formats import PictureFormat
from emofuse.common.page.blocks import Chart
from emofuse.train.papers.figures.tsne import draw_tsne
from emofuse.train.papers.figures.weight_grid import draw_grid
from emofuse.train.papers.output.table_text import warnings
from emofuse.train.papers.paper_figure import PaperFigure
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.row_jobs import RowJob


def draw(results: ResultTable, jobs: Sequence[RowJob], folder: Path, say: Say) -> PaperFigure | None:
    """Draw the figure of a table, and write its numbers into `folder`; its remarks are added to the table's.

    Returns:
        The figure; None where a row diverged and the figure needs all.
    """
    table = results.table
    assert table.figure is not None
    if results.diverged and table.figure.kind != "line":  # a line has a gap there
        results.remarks.append(f"{table.where} is not drawn, as not all of its rows have figures.")
        return None
    say(f"drawing {table.where}")
    if table.figure.kind == "line":
        return draw_line(results)
    return {"grid": draw_grid, "tsne": draw_tsne}[table.figure.kind](results, jobs, folder)


def write_pictures(
    figure: PaperFigure, results: ResultTable, folder: Path, formats: Sequence[PictureFormat]
) -> tuple[Path, ...]:
    """Write figure.png, figure.svg, figure.pdf: those in `formats`; each has the differences from the paper below it.

    Returns:
        The files.

    Raises:
        UsageError: matplotlib is not installed; nothing is written.
    """
    drawn = {format: picture(figure.drawing, format, " ".join(warnings(results))) for format in formats}
    for format, content in drawn.items():
        write_atomically(folder / f"figure.{format}", content)
    return tuple(folder / f"figure.{format}" for format in drawn)


def draw_line(results: ResultTable) -> PaperFigure:
    """Draw each column over the setting that the rows vary."""
    table = results.table
    assert table.figure is not None
    ((setting, values),) = table.figure.over.items()
    curves, seen = [], []
    columns = [(task, column) for task in table.tasks for column in task.metrics]
    keys = [f"{task.protocol} {column}" for task, column in columns]
    colours, shapes = group_colours(keys), markers(keys)
    for number, (key, (task, column)) in enumerate(zip(keys, columns, strict=True)):
        cells = [r.cells[column] for r in results.rows_of(task) if not r.row.cited]
        ours = [(v, c.mean, c.deviation or 0.0) for v, c in zip(values, cells, strict=True) if c.mean is not None]
        if ours:
            x, y, spread = zip(*ours, strict=True)
            style = ("-", "--", "-.", ":")[number % 4]
            curves.append(
                Line(
                    name=f"{column}, ours",
                    x=x,
                    y=y,
                    spread=spread,
                    colour=colours[key],
                    marker=shapes[key],
                    style=style,
                )
            )
            seen.append(f"{column}: " + ", ".join(f"{mean:.1f} at {v:g}" for v, mean, _ in ours))
        theirs = [(v, c.published) for v, c in zip(values, cells, strict=True) if c.published is not None]
        if theirs:
            x, y = zip(*theirs, strict=True)
            curves.append(Line(name=f"{column}, paper", x=x, y=y, colour=colours[key], style="", marker="*"))
    drawing = lines(curves, setting, _unit(results), height=2.9)
    alt = f"{table.about.capitalize()}. {'; '.join(seen)}."
    chart = Chart(
        name="figure", title=table.where, alt=alt, drawing=drawing,
        caption="Bars: standard deviation over folds and seeds. Stars: the paper's figures.",
    )  # fmt: skip
    return PaperFigure(drawing=drawing, charts=(chart,))


def _unit(results: ResultTable) -> str:
    return "score in percent" if results.table.unit == "percent" else "score"

"""t-SNE panels of the last classifier's input (MCFN, Figure 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.palette import Colours, class_colours
from emofuse.common.charts.panels import panels
from emofuse.common.charts.scatter import paint_points, scatter
from emofuse.common.disk.run_folder import write_csv
from emofuse.common.page.blocks import Chart
from emofuse.train.inspection.projection import project
from emofuse.train.papers.figures.finished_folds import finished_folds
from emofuse.train.papers.paper_figure import PaperFigure
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.row_jobs import RowJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The points of one row of the table."""

    title: str
    fold: int
    seed: int
    ids: list[str]
    labels: list[str]
    classes: tuple[str, ...]
    points: NDArray[np.float64]
    """[utterances, 2]."""


def draw_tsne(results: ResultTable, jobs: Sequence[RowJob], folder: Path) -> PaperFigure:
    """Draw the test side of the first fold, one panel per row of the table; the points are in tsne.csv."""
    found = [_panel(job) for job in jobs]
    write_csv(folder / "tsne.csv", [row for panel in found for row in _csv_rows(panel, "; ".join(results.marks))])
    last = found[-1]
    results.remarks.append(f"t-SNE of the last classifier's input: test side of fold {last.fold}, seed {last.seed}.")
    return PaperFigure(
        drawing=panels([(panel.title, partial(_paint, panel)) for panel in found]),
        charts=tuple(_chart(panel, number) for number, panel in enumerate(found)),
    )


def _panel(job: RowJob) -> Panel:
    """The last classifier's input on the test side of a job's first fold, in two dimensions."""
    with finished_folds(job) as folds:
        first = folds[0]
        fused = first.outputs(first.test, lambda o: o.aux["fused"])
        classes = first.plan.protocol.classes
        labels = [classes[k] for k in first.labels[first.test].tolist()]
        ids = [u.id for u in first.fold.test]
    return Panel(
        title=job.row.name,
        fold=first.fold.number,
        seed=first.seed,
        ids=ids,
        labels=labels,
        classes=classes,
        points=project(fused),
    )


def _csv_rows(panel: Panel, marks: str) -> list[dict[str, str]]:
    return [
        {"marks": marks, "panel": panel.title, "id": id, "label": label, "x": f"{x:.4f}", "y": f"{y:.4f}"}
        for id, label, (x, y) in zip(panel.ids, panel.labels, panel.points.tolist(), strict=True)
    ]


def _paint(panel: Panel, axes: Any, colours: Colours) -> None:
    paint_points(axes, colours, panel.points, panel.labels, class_colours(panel.classes), size=14, counted=False)


def _chart(panel: Panel, number: int) -> Chart:
    counts = Counter(panel.labels)
    return Chart(
        name=f"panel-{number + 1}",
        title=f"({chr(ord('a') + number)}) {panel.title}",
        alt=f"t-SNE of {len(panel.ids)} test utterances by class: "
        f"{', '.join(f'{name} {counts[name]}' for name in panel.classes)}.",
        drawing=scatter(panel.points, panel.labels, class_colours(panel.classes), size=14),
    )

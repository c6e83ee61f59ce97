"""t-SNE panels of the last classifier's input (MCFN, Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.run_folder import write_csv
from emofuse.train.papers.finished_folds import finished_folds
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.row_jobs import RowJob
from emofuse.train.papers.save_figure import NO_PICTURE, figure_type, save

PANELS_PER_ROW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The points of one row of the table."""

    title: str
    fold: int
    seed: int
    ids: list[str]
    labels: list[str]
    classes: tuple[str, ...]
    points: NDArray[np.float32]
    """[utterances, 2]."""


def draw_tsne(results: ResultTable, jobs: Sequence[RowJob], folder: Path) -> list[str]:
    """Draw the test side of the first fold, one panel per row of the table; the points are in tsne.csv."""
    panels = [_panel(job) for job in jobs]
    write_csv(folder / "tsne.csv", [row for panel in panels for row in _csv_rows(panel, "; ".join(results.marks))])
    last = panels[-1]
    remarks = [f"t-SNE of the last classifier's input: test side of fold {last.fold}, seed {last.seed}."]
    new_figure = figure_type()
    if new_figure is None:
        return [*remarks, NO_PICTURE]
    lines = -(-len(panels) // PANELS_PER_ROW)
    figure = new_figure(figsize=(8, 4 * lines), layout="constrained")
    for number, panel in enumerate(panels):
        _draw(panel, "abcdefgh"[number], figure.add_subplot(lines, PANELS_PER_ROW, number + 1))
    return remarks + save(figure, folder, results)


def _panel(job: RowJob) -> Panel:
    """The last classifier's input on the test side of a job's first fold, in two dimensions."""
    from sklearn.manifold import TSNE

    with finished_folds(job) as folds:
        first = folds[0]
        fused = first.outputs(first.test, lambda o: o.aux["fused"])
        classes = first.plan.protocol.classes
        labels = [classes[k] for k in first.labels[first.test].tolist()]
        ids = [u.id for u in first.fold.test]
    perplexity = min(30.0, (len(fused) - 1) / 3)
    points = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(fused)
    return Panel(
        title=job.row.name,
        fold=first.fold.number,
        seed=first.seed,
        ids=ids,
        labels=labels,
        classes=classes,
        points=points,
    )


def _csv_rows(panel: Panel, marks: str) -> list[dict[str, str]]:
    return [
        {"marks": marks, "panel": panel.title, "id": id, "label": label, "x": f"{x:.4f}", "y": f"{y:.4f}"}
        for id, label, (x, y) in zip(panel.ids, panel.labels, panel.points.tolist(), strict=True)
    ]


def _draw(panel: Panel, letter: str, axes: Any) -> None:
    labels = np.array(panel.labels)
    for name in panel.classes:
        points = panel.points[labels == name]
        axes.scatter(points[:, 0], points[:, 1], s=6, label=name)
    axes.set_title(f"({letter}) {panel.title}", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=6)

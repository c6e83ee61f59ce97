"""Decision fusion with other weights than in training (MCFN eq. 8, Figure 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from emofuse.common.charts.matrix import matrix
from emofuse.common.disk.run_folder import write_csv, write_json
from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Chart
from emofuse.manifests.metrics.scores import LABEL_METRICS, scores, short_name
from emofuse.train.data.ragged import Indices
from emofuse.train.papers.figures.finished_folds import FinishedFold, finished_folds
from emofuse.train.papers.paper_figure import PaperFigure
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.row_jobs import RowJob

Point = tuple[float, float]
"""(alpha, beta); gamma = 1 - alpha - beta."""
Scores = Mapping[str, float]
"""Metric -> fraction."""


def draw_grid(results: ResultTable, jobs: Sequence[RowJob], folder: Path) -> PaperFigure:
    """Score all points of the grid from one training: alpha and beta act only on the outputs of the classifiers.

    Each fold's point is selected on its own validation side and written down (grid-selection.json) before its test side
    is scored. The best point on test is printed as optimistic, never as a score.
    """
    figure = results.table.figure
    assert figure is not None
    points = [(a, b) for a in figure.over["alpha"] for b in figure.over["beta"]]
    (job,) = jobs
    with finished_folds(job) as folds:
        metric = folds[0].plan.protocol.metrics[0]
        validated = [_grid_scores(f, f.validation, points) for f in folds]
        selected = [int(np.argmax([s[metric] for s in fold_scores])) for fold_scores in validated]
        _write_selection(results, folds, metric, [points[k] for k in selected], folder)
        tested = [_grid_scores(f, f.test, points) for f in folds]
    validation, optimistic = _means(validated), _means(tested)
    write_csv(
        folder / "grid.csv",
        [
            {"marks": "; ".join(results.marks), "alpha": a, "beta": b, "gamma": f"{1 - a - b:g}"}
            | {f"validation_{m}": f"{v:.6f}" for m, v in validation[i].items()}
            | {f"optimistic_test_{m}": f"{v:.6f}" for m, v in optimistic[i].items()}
            for i, (a, b) in enumerate(points)
        ],
    )
    honest = [fold_scores[k] for fold_scores, k in zip(tested, selected, strict=True)]
    best = {m: max(range(len(points)), key=lambda i: optimistic[i][m]) for m in job.task.metrics.values()}
    results.remarks += [
        _remark(results, column, [s[m] for s in honest], optimistic[best[m]][m], points[best[m]])
        for column, m in job.task.metrics.items()
    ]
    return _figure(results, points, [v[metric] for v in validation], metric, [points[k] for k in selected])


def _write_selection(
    results: ResultTable, folds: Sequence[FinishedFold], metric: str, selected: Sequence[Point], folder: Path
) -> None:
    rule = f"best validation {metric} of the fold, ties to the earlier point"
    names = [f"seed {f.seed} fold {f.fold.number}" for f in folds]
    chosen = dict(zip(names, selected, strict=True))
    write_json(folder / "grid-selection.json", {"rule": rule, "marks": list(results.marks), "alpha and beta": chosen})


def _remark(results: ResultTable, column: str, honest: Sequence[float], optimistic: float, best: Point) -> str:
    """The score of the selected points, and the best point on test."""
    factor, decimals = results.scale
    values = [factor * score for score in honest]
    spread = f" ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else ""
    return (
        f"Weights chosen on each fold's validation side: {column} {np.mean(values):.{decimals}f}{spread}; optimistic, "
        f"chosen on test and never a score: {factor * optimistic:.{decimals}f} at alpha {best[0]:g}, beta {best[1]:g}."
    )


def _grid_scores(fold: FinishedFold, indices: Indices, points: Sequence[Point]) -> list[Scores]:
    """The scores of each point on some utterances of a fold."""
    speech, text, both = np.moveaxis(
        fold.outputs(indices, lambda o: torch.stack([o.aux[k] for k in ("p_s", "p_t", "p_st")], dim=1)), 1, 0
    )
    labels = fold.labels[indices]
    return [scores(labels, (a * speech + b * text + (1 - a - b) * both).argmax(1)) for a, b in points]


def _means(fold_scores: Sequence[Sequence[Scores]]) -> list[dict[str, float]]:
    """The mean over folds and seeds at each point."""
    return [
        {m: float(np.mean([s[m] for s in point])) for m in LABEL_METRICS} for point in zip(*fold_scores, strict=True)
    ]


def _figure(
    results: ResultTable, points: Sequence[Point], values: Sequence[float], metric: str, selected: Sequence[Point]
) -> PaperFigure:
    """The mean validation score of each point; a border marks those that a fold selects.

    Args:
        results: The table.
        points: Of the grid.
        values: The score of each point, in 0..1.
        metric: Its name.
        selected: The point of each fold and seed.
    """
    alphas, betas = sorted({a for a, _ in points}, reverse=True), sorted({b for _, b in points})
    factor, decimals = results.scale
    grid, texts = np.full((len(alphas), len(betas)), np.nan), np.full((len(alphas), len(betas)), "", object)
    times, boxed = Counter(selected), []
    for (a, b), value in zip(points, values, strict=True):
        cell = alphas.index(a), betas.index(b)
        grid[cell] = factor * value
        texts[cell] = f"{factor * value:.{decimals}f}"
        if (a, b) in times:
            boxed.append(cell)
            texts[cell] += f"\n×{times[a, b]}" if len(selected) > 1 else ""
    score = f"validation {short_name(metric)}{' in percent' if factor == 100 else ''}"
    folds = plural(len(selected), "training")
    rule = "boxed: selected on validation" + (f"\n×n: by n of {folds}" if len(selected) > 1 else "")
    drawing = matrix(
        grid,
        [f"{a:g}" for a in alphas],
        [f"{b:g}" for b in betas],
        texts=texts,
        scale=(float(np.min(grid)), float(np.max(grid))),
        axes_labels=("alpha (speech)", f"beta (text)\n{rule}"),
        boxed=boxed,
        title=f"mean {score}",
    )
    best = max(range(len(points)), key=values.__getitem__)
    chosen = ", ".join(f"alpha {a:g} beta {b:g} ({n} of {folds})" for (a, b), n in times.most_common())
    alt = (
        f"Mean {score} from {np.min(grid):.{decimals}f} to {np.max(grid):.{decimals}f}, highest at alpha "
        f"{points[best][0]:g}, beta {points[best][1]:g}. Selected: {chosen}."
    )
    chart = Chart(name="figure", title=results.table.where, alt=alt, drawing=drawing)
    return PaperFigure(drawing=drawing, charts=(chart,))

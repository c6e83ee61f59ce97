"""Decision fusion with other weights than those that were trained with (MCFN eq. 8, Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from emofuse.common.disk.run_folder import write_csv, write_json
from emofuse.manifests.metrics import scores
from emofuse.manifests.protocol import METRICS
from emofuse.train.data.ragged import Indices
from emofuse.train.papers.finished import FinishedFold, finished_folds
from emofuse.train.papers.jobs import RowJob
from emofuse.train.papers.pictures import NO_PICTURE, figure_type, save
from emofuse.train.papers.results import Sheet
from emofuse.train.papers.table import Table

Scores = Sequence[Mapping[str, float]]


def grid(table: Table, sheet: Sheet, work: Sequence[RowJob], folder: Path) -> list[str]:
    """Score every point of the grid, from one training: alpha and beta act on the three classifiers' outputs alone.

    Each fold's point is chosen on its own validation side and written down (grid-selection.json); then its test side is
    scored. What all points give on test is printed as optimistic, never as a score.
    """
    assert table.figure is not None
    points = [(a, b) for a in table.figure.over["alpha"] for b in table.figure.over["beta"]]
    (job,) = work
    with finished_folds(job) as folds:
        metric = folds[0].plan.protocol.metrics[0]
        validated = [_mixed(f, f.validation, points) for f in folds]
        chosen = [int(np.argmax([s[metric] for s in found])) for found in validated]
        named = [f"seed {f.seed} fold {f.fold.number}" for f in folds]
        rule = f"best validation {metric} of the fold, ties to the earlier point"
        picked = {name: points[k] for name, k in zip(named, chosen, strict=True)}
        write_json(folder / "grid-selection.json", {"rule": rule, "marks": list(sheet.marks), "alpha and beta": picked})
        tested = [_mixed(f, f.test, points) for f in folds]
    validation, optimistic = _over(validated), _over(tested)
    write_csv(
        folder / "grid.csv",
        [
            {"marks": "; ".join(sheet.marks), "alpha": a, "beta": b, "gamma": f"{1 - a - b:g}"}
            | {f"validation_{m}": f"{v:.6f}" for m, v in validation[i].items()}
            | {f"optimistic_test_{m}": f"{v:.6f}" for m, v in optimistic[i].items()}
            for i, (a, b) in enumerate(points)
        ],
    )
    honest = [found[k] for found, k in zip(tested, chosen, strict=True)]
    said = [_told(sheet, *column, honest, optimistic, points) for column in job.task.metrics.items()]
    return said + _heat(sheet, points, [v[metric] for v in validation], f"validation {metric}", folder)


def _told(
    sheet: Sheet, column: str, measure: str, honest: Scores, optimistic: Scores, points: Sequence[tuple[float, float]]
) -> str:
    factor, decimals = sheet.scale
    values = [factor * s[measure] for s in honest]
    spread = f" ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else ""
    best = max(range(len(points)), key=lambda i: optimistic[i][measure])
    return (
        f"Weights chosen on each fold's validation side: {column} {np.mean(values):.{decimals}f}{spread}; optimistic, "
        f"chosen on test and never a score: {factor * optimistic[best][measure]:.{decimals}f} at alpha "
        f"{points[best][0]:g}, beta {points[best][1]:g}."
    )


def _mixed(fold: FinishedFold, indices: Indices, points: Sequence[tuple[float, float]]) -> list[Mapping[str, float]]:
    speech, text, both = np.moveaxis(
        fold.outputs(indices, lambda o: torch.stack([o.aux[k] for k in ("p_s", "p_t", "p_st")], dim=1)), 1, 0
    )
    labels = fold.labels[indices]
    return [scores(labels, (a * speech + b * text + (1 - a - b) * both).argmax(1)) for a, b in points]


def _over(found: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Mean over folds and seeds, point by point."""
    return [{m: float(np.mean([f[m] for f in point])) for m in METRICS} for point in zip(*found, strict=True)]


def _heat(
    sheet: Sheet, points: Sequence[tuple[float, float]], values: Sequence[float], what: str, folder: Path
) -> list[str]:
    kind = figure_type()
    if kind is None:
        return [NO_PICTURE]
    alphas, betas = (sorted({p[i] for p in points}) for i in (0, 1))
    image = np.full((len(alphas), len(betas)), np.nan)
    for (a, b), value in zip(points, values, strict=True):
        image[alphas.index(a), betas.index(b)] = value
    figure = kind(figsize=(4.5, 4), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(image, cmap="viridis", origin="lower")
    axes.set_xticks(range(len(betas)), [f"{b:g}" for b in betas])
    axes.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
    axes.set_xlabel("beta (text)")
    axes.set_ylabel("alpha (speech)")
    figure.colorbar(shown, label=what)
    return save(figure, folder, sheet)

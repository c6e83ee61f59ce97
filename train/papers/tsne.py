"""t-SNE panels of what the last classifier sees (MCFN, Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emofuse.common.disk.run_folder import write_csv
from emofuse.train.papers.finished import finished_folds
from emofuse.train.papers.jobs import RowJob
from emofuse.train.papers.pictures import NO_PICTURE, figure_type, save
from emofuse.train.papers.results import Sheet
from emofuse.train.papers.table import Table


def tsne(table: Table, sheet: Sheet, work: Sequence[RowJob], folder: Path) -> list[str]:
    """What the last classifier sees of the first fold's test side, one panel per row (scikit-learn's t-SNE, seed 0)."""
    from sklearn.manifold import TSNE

    kind, rows, marks = figure_type(), [], "; ".join(sheet.marks)
    columns = 2
    figure = kind(figsize=(8, 4 * -(-len(work) // columns)), layout="constrained") if kind else None
    for number, job in enumerate(work):
        with finished_folds(job) as folds:
            first = folds[0]
            fused = first.outputs(first.test, lambda o: o.aux["fused"])
            classes = first.plan.protocol.classes
            labels = [classes[k] for k in first.labels[first.test].tolist()]
            ids = [u.id for u in first.fold.test]
        perplexity = min(30.0, (len(fused) - 1) / 3)
        places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(fused)
        rows += [
            {
                "marks": marks,
                "panel": job.row.name,
                "id": id,
                "label": label,
                "x": f"{x:.4f}",
                "y": f"{y:.4f}",
            }
            for id, label, (x, y) in zip(ids, labels, places.tolist(), strict=True)
        ]
        if figure is not None:
            axes = figure.add_subplot(-(-len(work) // columns), columns, number + 1)
            for name in classes:
                mine = places[np.array(labels) == name]
                axes.scatter(mine[:, 0], mine[:, 1], s=6, label=name)
            axes.set_title(f"({'abcdefgh'[number]}) {job.row.name}", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.legend(fontsize=6)
    write_csv(folder / "tsne.csv", rows)
    said = [f"t-SNE of what the last classifier sees: test side of fold {first.fold.number}, seed {first.seed}."]
    return said + ([NO_PICTURE] if figure is None else save(figure, folder, sheet))

"""Finished folds, opened once more for what a figure needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.manifests.folds import Fold
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import checkpoint
from emofuse.train.fitting.loop import collect
from emofuse.train.models.base import Outputs
from emofuse.train.papers.jobs import RowJob
from emofuse.train.resolve.plan import FitPlan
from emofuse.train.runs.run import fit, resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedFold:
    """A finished fold, ready to be looked at again."""

    seed: int
    fold: Fold
    plan: FitPlan
    validation: Indices
    test: Indices
    labels: Indices
    _loader: Loader
    _weights: Path

    def outputs(self, indices: Indices, take: Callable[[Outputs], torch.Tensor]) -> NDArray[np.float32]:
        """What `take` takes of the selected weights' outputs, in the order of `indices`."""
        model, _, statistics = checkpoint.load(self._weights, self.plan.device)
        return collect(
            model, self._loader.corpus(self.fold).using(statistics), indices, lambda outputs, _: take(outputs)
        )


@contextmanager
def finished_folds(job: RowJob) -> Iterator[list[FinishedFold]]:
    """Every fold of every seed of a job that is done."""
    done = fit(job.config, say=lambda text: None)
    with resolved(job.config) as plan:
        loader = Loader(plan)
        place = {u.id: i for i, u in enumerate(plan.utterances)}
        found = []
        for seed in done.metrics.get("seeds", [job.config.seed]):
            root = done.out / f"seed_{seed}" if "seeds" in done.metrics else done.out
            for fold in plan.folds:
                sides = {k: np.array([place[u.id] for u in side], np.int64) for k, side in fold.sides.items()}
                found.append(
                    FinishedFold(
                        seed=seed,
                        fold=fold,
                        plan=plan,
                        validation=sides["validation"],
                        test=sides["test"],
                        labels=plan.labels,
                        _loader=loader,
                        _weights=root / f"fold_{fold.number}" / "model.safetensors",
                    )
                )
        yield found

"""The folds of a finished run, loaded again for a figure that needs their models' outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.manifests.folds.cross_validation import Fold
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import model_file
from emofuse.train.fitting.loop import collect
from emofuse.train.models.base import Outputs
from emofuse.train.papers.row_jobs import RowJob
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.run_digests import check_weights
from emofuse.train.runs.training.fit import fit_model


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedFold:
    """One trained fold. `validation`, `test` and `labels` index or follow the utterances of `plan`."""

    seed: int
    fold: Fold
    plan: FitPlan
    validation: Indices
    test: Indices
    labels: Indices
    _run: Run
    _loader: Loader
    _weights: Path

    def outputs(self, indices: Indices, take: Callable[[Outputs], torch.Tensor]) -> NDArray[np.float32]:
        """The tensors that `take` selects of the trained model's outputs, in the order of `indices`."""
        check_weights(self._run, self._weights)
        model, _, statistics = model_file.load(self._weights, self.plan.device)
        return collect(
            model,
            self._loader.task_data(self.fold).with_statistics(statistics),
            indices,
            lambda outputs, _: take(outputs),
        )


@contextmanager
def finished_folds(job: RowJob) -> Iterator[list[FinishedFold]]:
    """All folds of all seeds of a finished job; its stores are open within the context."""
    finished = fit_model(job.config, say=lambda text: None)
    with resolved(job.config) as plan:
        loader = Loader(plan)
        index = {u.id: i for i, u in enumerate(plan.utterances)}
        folds = []
        for seed in finished.metrics.get("seeds", [job.config.seed]):
            root = finished.folder / f"seed_{seed}" if "seeds" in finished.metrics else finished.folder
            for fold in plan.folds:
                sides = {k: np.array([index[u.id] for u in side], np.int64) for k, side in fold.sides.items()}
                folds.append(
                    FinishedFold(
                        seed=seed,
                        fold=fold,
                        plan=plan,
                        validation=sides["validation"],
                        test=sides["test"],
                        labels=plan.labels,
                        _run=finished,
                        _loader=loader,
                        _weights=root / f"fold_{fold.number}" / "model.safetensors",
                    )
                )
        yield folds

"""One fold under one seed: train it, write down what was selected, and only then score its test side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emofuse.common.console import Say
from emofuse.common.disk import run_folder
from emofuse.manifests.folds import Fold
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import evaluate
from emofuse.train.fitting.checkpoint import ModelRecipe
from emofuse.train.fitting.loop import DivergedError, train
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.resolve.plan import FitPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class FitContext:
    """What every fold and every seed of a fit shares."""

    plan: FitPlan
    recipe: ModelRecipe
    loader: Loader
    header: Sequence[str]
    """What the report says on top."""
    say: Say


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingUnit:
    """What is trained on its own: a fold under a seed."""

    seed: int
    fold: int
    """Its number."""
    folder: Path
    call: int
    """The number of the call of `fit` that trains it."""
    scored: bool = True
    """Whether its test side is scored at the end; a search never does."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return (self.folder / (evaluate.RESULT if self.scored else evaluate.SELECTION)).exists()


FoldTask = tuple[FitContext, TrainingUnit]
"""A unit and the fit that it belongs to."""
Advance = Callable[[TrainingUnit, int, str], None]
"""Told of a unit's steps done, how many, and a note."""
Ended = Callable[[TrainingUnit, str | None], bool]
"""Told of a unit when it is done, or how it diverged; says whether the other units of its fit are still wanted."""


def verify(tasks: Sequence[FoldTask]) -> None:
    """Read what several processes will map, each feature once.

    Raises:
        DataError: Values are damaged or not finite.
    """
    done: set[Any] = set()
    for loader in dict.fromkeys(work.loader for work, _ in tasks):
        loader.verify(done)


def attempt(work: FitContext, unit: TrainingUnit, on_step: Callable[[int, str], None]) -> str | None:
    """`fit_fold`, for which a training that diverged is an answer too: it need not end the others.

    The answer is a text, as the error would keep the model and the features in memory.
    """
    try:
        fit_fold(work, unit, on_step)
    except DivergedError as error:
        return str(error)
    return None


def fit_fold(work: FitContext, unit: TrainingUnit, on_step: Callable[[int, str], None]) -> None:
    """Train a fold, from where its folder says that it stands, and score it.

    Args:
        on_step: Told each step done and a note for the progress line.
    """
    plan, recipe, target = work.plan, work.recipe, unit.folder
    fold = next(f for f in plan.folds if f.number == unit.fold)
    target.mkdir(parents=True, exist_ok=True)
    keeper = FoldCheckpoint(target, plan.device)
    training, validation, test = sides(plan, fold).values()
    metric, seconds, corpus = plan.protocol.metrics[0], 0.0, work.loader.corpus(fold)
    if not (target / evaluate.SELECTION).exists():
        fitted = corpus.fitted(training)
        try:
            trained = train(
                recipe,
                fitted,
                training,
                validation,
                metric=metric,
                seed=unit.seed,
                class_weights=_class_weights(plan, training),
                precision=plan.config.precision,
                keep_all=plan.config.optimism,
                keeper=keeper,
                on_step=on_step,
            )
        except DivergedError as error:  # of several models and folds that are trained at once, which?
            raise DivergedError(f"{plan.title}, seed {unit.seed}, fold {unit.fold}: {error}") from None
        seconds = trained.seconds
        run_folder.write_csv(target / "history.csv", [{"fold": fold.number} | row for row in trained.history])
        rule = f"best validation {metric}, ties to the earlier" if len(validation) else "the last step"
        assert fitted.statistics is not None
        if unit.scored:
            evaluate.write_weights(target, recipe, trained, fitted.statistics)
        evaluate.write_selection(target, trained, rule)
    keeper.remove()
    if not unit.scored:
        return
    about = {
        "fold": fold.number,
        "name": fold.name,
        "validated": fold.validated,
        "utterances": {side: len(members) for side, members in fold.sides.items()},
        "seconds": round(seconds, 3),
        "call": unit.call,
        "threads": torch.get_num_threads(),
    }
    ids = [plan.utterances[i].id for i in test.tolist()]
    evaluate.test(target, corpus, test, ids, plan.protocol.classes, about, plan.config.score_without)


def sides(plan: FitPlan, fold: Fold) -> Mapping[str, Indices]:
    """The places of a fold's utterances among the plan's: training, validation, test."""
    place = {u.id: i for i, u in enumerate(plan.utterances)}
    return {side: _indices(members, place) for side, members in fold.sides.items()}


def _indices(side: tuple[Any, ...], place: Mapping[str, int]) -> Indices:
    return np.array([place[u.id] for u in side], np.int64)


def _class_weights(plan: FitPlan, training: Indices) -> Tensor | None:
    """Balanced: n / (C n_c), as scikit-learn's; a class without a training utterance weighs nothing."""
    if plan.config.class_weights == "none":
        return None
    counts = np.bincount(plan.labels[training], minlength=len(plan.protocol.classes))
    weights = np.divide(len(training), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32)).to(plan.device)

"""One fold under one seed: train it, write the selection, and only then score its test side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emofuse.common.disk import run_folder
from emofuse.common.disk.files import make_folder
from emofuse.common.output.console import Say
from emofuse.common.system.machine import peak_memory
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.targets.target import class_numbers
from emofuse.train.data.augmented import AugmentedData, with_copies
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting.loop import DivergedError, TrainingJob, train
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.fitting.scoring import score_test
from emofuse.train.fitting.scoring.calibrate import calibrate, stored_temperature
from emofuse.train.fitting.shuffle import shuffled
from emofuse.train.resolve.fit_plan import FitPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class FitContext:
    """What all folds and seeds of a fit share."""

    plan: FitPlan
    recipe: ModelRecipe
    loader: Loader
    header: Sequence[str]
    """The first lines on the console: what is fitted, on what, and how."""
    parameters: int
    """Of the model."""
    say: Say


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingUnit:
    """The unit of work that is trained by itself: one fold under one seed."""

    seed: int
    fold: int
    """The fold's number."""
    folder: Path
    call: int
    """The number of the call of `fit` that trains it."""
    scored: bool = True
    """Whether its test side is scored at the end; a search never does."""

    @property
    def done(self) -> bool:
        """Whether it is trained, and scored if it is to be."""
        return (self.folder / (score_test.RESULT if self.scored else score_test.SELECTION)).exists()


UnitInContext = tuple[FitContext, TrainingUnit]
"""A unit and the fit that it belongs to."""
OnStep = Callable[[int, str], None]
"""Called after a training step with its number and a note for the progress line."""
OnProgress = Callable[[TrainingUnit, int, str], None]
"""Called with a unit, how many steps were trained since the last call, and a note for the progress line."""
OnUnitEnd = Callable[[TrainingUnit, str | None], bool]
"""Called with a unit that ended and how it diverged (None: it is done). Returns whether its fit is to continue."""


def verify_features(tasks: Sequence[UnitInContext]) -> None:
    """Read the features that several processes will map into memory, each feature once.

    Raises:
        DataError: Values are damaged or not finite.
    """
    verified: set[Any] = set()
    for loader in dict.fromkeys(context.loader for context, _ in tasks):
        loader.verify(verified)


def try_fit_fold(context: FitContext, unit: TrainingUnit, on_step: OnStep) -> str | None:
    """`fit_fold`; if the training diverges, its message is returned, so that other units can continue.

    A message and not the error: the error's traceback would keep the model and the features in memory.
    """
    try:
        fit_fold(context, unit, on_step)
    except DivergedError as error:
        return str(error)
    return None


def fit_fold(context: FitContext, unit: TrainingUnit, on_step: OnStep) -> None:
    """Train and score a fold; what its folder shows as done is not repeated.

    Raises:
        DivergedError: The training loss became NaN or infinite.
        UsageError: Not even a single utterance fits in memory.
        DataError: A feature or the saved training state is damaged.
    """
    fold = next(f for f in context.plan.folds if f.number == unit.fold)
    make_folder(unit.folder)
    checkpoint = FoldCheckpoint(unit.folder, context.plan.device)
    data, seconds = fold_data(context, fold, unit.seed), 0.0
    if not (unit.folder / score_test.SELECTION).exists():
        seconds = _train_fold(context, unit, fold, data, checkpoint, on_step)
    checkpoint.remove()
    if unit.scored:
        _score_fold(context.plan, unit, fold, data, seconds)


def fold_data(context: FitContext, fold: Fold, seed: int) -> TaskData:
    """What a fold trains, validates and tests on; shuffled in a sanity run."""
    data, shuffle = context.loader.task_data(fold), context.plan.config.shuffle
    return shuffled(data, shuffle, side_indices(context.plan, fold), seed, fold.number) if shuffle else data


def augmented_data(context: FitContext, fold: Fold, data: TaskData, training: Indices) -> AugmentedData | None:
    """The training side with the augmented copies of its own utterances; None in a fit without copies."""
    return with_copies(data, training, context.loader.copies(fold)) if context.plan.copies else None


def _train_fold(
    context: FitContext,
    unit: TrainingUnit,
    fold: Fold,
    data: TaskData,
    checkpoint: FoldCheckpoint,
    on_step: OnStep,
) -> float:
    """Train a fold and write its history, its weights and last its selection; gives the seconds it took."""
    plan, metric = context.plan, context.plan.protocol.metrics[0]
    training, validation, _ = side_indices(plan, fold).values()
    data = data.with_statistics_of(training)
    job = TrainingJob(
        recipe=context.recipe,
        data=data,
        training=training,
        validation=validation,
        augmented=augmented_data(context, fold, data, training),
        metric=metric,
        seed=unit.seed,
        class_weights=class_weights(plan, training),
        groups=balanced_groups(plan, data, training),
        precision=plan.config.precision,
        keep_all=plan.config.optimism,
    )
    try:
        result = train(job, checkpoint, on_step)
    except DivergedError as error:  # several models and folds may be training at once: name this one
        raise DivergedError(f"{plan.title}, seed {unit.seed}, fold {unit.fold}: {error}") from None
    run_folder.write_csv(unit.folder / score_test.HISTORY, [{"fold": fold.number} | row for row in result.history])
    if unit.scored:
        assert data.statistics is not None
        score_test.write_weights(unit.folder, context.recipe, result, data.statistics)
    rule = f"best validation {metric}, ties to the earlier" if len(validation) else "the last step"
    score_test.write_selection(unit.folder, result, rule)
    return result.seconds


def _score_fold(plan: FitPlan, unit: TrainingUnit, fold: Fold, data: TaskData, seconds: float) -> None:
    _, validation, test = side_indices(plan, fold).values()
    if len(validation):
        ids = [plan.utterances[i].id for i in validation.tolist()]
        score_test.write_validation(unit.folder, plan.protocol.target, data, validation, ids, fold.number)
    calibrated = plan.config.calibrate != "none"
    if calibrated:
        calibrate(unit.folder, plan.protocol.target, data, validation)
    side = score_test.HeldOutSide(
        data=data,
        indices=test,
        ids=[plan.utterances[i].id for i in test.tolist()],
        target=plan.protocol.target,
        without=plan.config.score_without,
        temperature=stored_temperature(unit.folder) if calibrated else None,
    )
    about = {
        "fold": fold.number,
        "name": fold.name,
        "validated": fold.validated,
        "utterances": {name: len(members) for name, members in fold.sides.items()},
        "seconds": round(seconds, 3),
        "call": unit.call,
        "threads": torch.get_num_threads(),
        "peak_memory": torch.cuda.max_memory_allocated(plan.device) if plan.device.type == "cuda" else peak_memory(),
    }
    score_test.score_test(unit.folder, side, about)


def side_indices(plan: FitPlan, fold: Fold) -> Mapping[str, Indices]:
    """For each side of a fold (training, validation, test) the indices [n] of its utterances among the plan's."""
    position = {u.id: i for i, u in enumerate(plan.utterances)}
    return {name: np.array([position[u.id] for u in members], np.int64) for name, members in fold.sides.items()}


def class_weights(plan: FitPlan, training: Indices) -> Tensor | None:
    """Balanced weights [C], n / (C n_c) as in scikit-learn; a class without training utterances has weight zero.

    Of several labels, (n - n_c) / n_c: how many utterances without the label there are for one that has it.
    """
    if plan.config.class_weights == "none":
        return None
    if plan.protocol.target.kind == "multilabel":
        there = plan.truth[training].sum(0)
        ratios = np.divide(len(training) - there, there, out=np.ones_like(there), where=there > 0)
        return torch.from_numpy(ratios.astype(np.float32)).to(plan.device)
    counts = np.bincount(plan.labels[training], minlength=len(plan.protocol.classes))
    weights = np.divide(len(training), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32)).to(plan.device)


def balanced_groups(plan: FitPlan, data: TaskData, training: Indices) -> Indices | None:
    """The class, or the number of the speaker, of each training utterance [n], as `balance` asks; None where it is off.

    Args:
        plan: Its training utterances have a speaker, if `balance` is `speaker`.
        data: Has the labels, which a sanity run permutes.
        training: [n].
    """
    if plan.settings.balance == "none":
        return None
    if plan.settings.balance == "class":
        return class_numbers(plan.protocol.target, data.labels.cpu().numpy()[training])
    return np.unique([str(plan.utterances[i].speaker) for i in training.tolist()], return_inverse=True)[1]

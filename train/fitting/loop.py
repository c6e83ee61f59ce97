"""The training loop: a number of steps (or epochs), ten evaluation steps, the best of them selected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import goodness
from emofuse.manifests.targets.multilabel import THRESHOLD, best_threshold
from emofuse.manifests.targets.scoring import value_scores
from emofuse.manifests.targets.target import Target, Truth
from emofuse.train.data.augmented import AugmentedData
from emofuse.train.data.batches import Batch, TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import schedule
from emofuse.train.fitting.averaging import WeightAverage
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.resume import BestEvaluation, FoldCheckpoint, State, TrainingProgress
from emofuse.train.fitting.step import Stepper
from emofuse.train.models.base import FusionModel, Outputs
from emofuse.train.resolve.config import Precision

EVALUATIONS = 10


class DivergedError(UsageError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What is trained on which data, and how the weights are selected."""

    recipe: ModelRecipe
    data: TaskData
    """Standardised by the statistics of the training side."""
    training: Indices
    validation: Indices
    """Empty if the weights of the last step are selected."""
    augmented: AugmentedData | None = None
    """The training side with its augmented copies, to draw batches from; None draws from `training` alone. The number
    of steps does not depend on it."""
    metric: str
    """The validation score that selects, one of `scoring.selecting_metrics` of the recipe's target."""
    seed: int
    class_weights: Tensor | None = None
    """[C], of the classes in the loss."""
    groups: Indices | None = None
    """The group of each utterance of `training`, where each group is drawn equally often."""
    precision: Precision = "fp32"
    """Of the matrix products in a training step; evaluation is always in fp32."""
    keep_all: bool = False
    """Whether the weights of every evaluation step are kept."""
    stop: int | None = None
    """The last step, where that is not the last one of the settings; schedules run on as if it were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What the training of one fold gives."""

    model: FusionModel
    """With the selected weights."""
    step: int
    """The step whose weights were selected."""
    validation: dict[str, float] | None
    """Validation scores at that step; None without validation."""
    history: list[dict[str, Any]]
    """One row for each evaluation step: step, mean training loss since the one before, validation loss and scores."""
    seconds: float
    """Training time over all calls."""
    micro_batch: int | None = None
    """Utterances in one forward pass, if memory did not suffice for a whole batch."""
    stopped: int | None = None
    """The last step that was trained, if the training stopped early."""
    checkpoints: dict[int, State] = field(default_factory=dict)
    """Step -> weights on the CPU of every evaluation step, if the job keeps them."""


def evaluation_steps(steps: int) -> list[int]:
    """The steps after which validation is scored: ten, evenly spaced, the last step among them."""
    return sorted({-(-steps * k // EVALUATIONS) for k in range(1, EVALUATIONS + 1)})


def train(
    job: TrainingJob,
    checkpoint: FoldCheckpoint | None = None,
    on_step: Callable[[int, str], None] = lambda step, note: None,
) -> TrainingResult:
    """Train a fresh model and select its weights: the best on validation, or the last without validation.

    Equal jobs give equal weights on the same machine. Of equal validation scores the earlier step is selected.

    Args:
        checkpoint: Where the training state is saved at evaluation steps, and from where training resumes.
        on_step: Called after each step, also one that early stopping saves, with its number and a note for the
            progress line.

    Raises:
        DivergedError: The training loss became NaN or infinite.
        UsageError: Not even a single utterance fits in memory.
    """
    steps = job.recipe.settings.total_steps(job.data.examples(job.training))
    trainer = _Trainer(job, checkpoint, steps)
    last = job.stop or steps
    evaluations = set(evaluation_steps(last))
    note = ""
    for step, batch in trainer.remaining_batches(last):
        if trainer.stopped:
            on_step(step, note)
            continue
        trainer.train_step(step, batch)
        if step in evaluations:
            note = trainer.evaluate(step)
            if step < last:
                trainer.save()
        on_step(step, note)
    return trainer.result()


class _Trainer:
    """The state of a training, and what happens at a training step and at an evaluation step."""

    def __init__(self, job: TrainingJob, checkpoint: FoldCheckpoint | None, steps: int) -> None:
        self._job, self._checkpoint, self._steps = job, checkpoint, steps
        self._settings = settings = job.recipe.settings
        self._device = job.data.labels.device
        counts = class_counts(job.recipe.target, job.data.labels[torch.from_numpy(job.training)])
        self._stepper = Stepper(job.recipe, self._device, job.seed, job.class_weights, job.precision, counts)
        averaged = settings.ema or settings.swa
        self._average = WeightAverage(self._stepper.model, settings, steps) if averaged else None
        weights = self._average.weights if self._average else {}
        self._stateful = self._stepper.model, self._stepper.optimiser, self._stepper.generator, weights
        self._state = (checkpoint.restore(self._stateful) if checkpoint else None) or TrainingProgress()
        self._started = time.monotonic() - self._state.seconds
        self._reset_loss()

    def remaining_batches(self, steps: int) -> Iterator[tuple[int, Indices]]:
        """The steps that are still to do, with their batches; those of the steps done are drawn and skipped."""
        batches = self._batches()
        return zip(range(self._state.step + 1, steps + 1), islice(batches, self._state.step, None), strict=False)

    def _batches(self) -> Iterator[Indices]:
        job, generator = self._job, np.random.default_rng(self._job.seed)
        if job.augmented:
            return job.augmented.training_batches(self._settings.batch, generator, job.groups)
        return job.data.training_batches(job.training, self._settings.batch, generator, job.groups)

    @property
    def stopped(self) -> bool:
        """Whether the last evaluations were no better than the best one, as many as `patience` allows."""
        best, patience = self._state.best, self._settings.patience
        if not patience or best is None or not len(self._job.validation):
            return False
        return len([row for row in self._state.history if row["step"] > best.step]) >= patience

    def train_step(self, step: int, batch: Indices) -> None:
        """Train one step, at the learning rate and with the progress of that step."""
        if schedule.is_scheduled(self._settings):
            metric = f"validation_{self._job.metric}"
            scores = (goodness(self._job.metric, row[metric]) for row in self._state.history)
            self._rate = schedule.learning_rate(self._settings, step, self._steps, scores)
            self._stepper.set_learning_rate(self._rate)
        progress = min(1.0, (step - 1) / self._steps)
        self._loss_sum += self._stepper.step(self._job.augmented or self._job.data, batch, progress, step)
        self._loss_count += 1
        if self._average:
            self._average.update(step)

    def evaluate(self, step: int) -> str:
        """Score validation, add a row to the history, and keep the weights if they are the best; gives a note.

        Where weights are averaged, the average is scored and kept.
        """
        with self._average.applied(step, self._one_pass()) if self._average else nullcontext():
            return self._evaluate(step)

    def _one_pass(self) -> Iterator[Batch]:
        batches = -(-self._job.data.examples(self._job.training) // self._settings.batch)
        return map((self._job.augmented or self._job.data).batch, islice(self._batches(), batches))

    def _evaluate(self, step: int) -> str:
        loss = self._mean_loss(step)
        row: dict[str, Any] = {"step": step, "train_loss": loss}
        if schedule.is_scheduled(self._settings):
            row["lr"] = self._rate
        found: dict[str, float] | None = None
        note = f"loss {loss:.3f}"
        if len(self._job.validation):
            found, validation_loss = self._validate()
            row |= {"validation_loss": validation_loss} | {f"validation_{k}": v for k, v in found.items()}
            note += f", validation {self._job.metric} {found[self._job.metric]:.3f}"
        state = self._state
        state.step, state.seconds = step, time.monotonic() - self._started
        state.history.append(row | {"seconds": round(state.seconds, 3)})
        self._keep_weights(step, found)
        self._reset_loss()
        return note

    def save(self) -> None:
        """Save the state, unless that was done a moment ago."""
        if self._checkpoint:
            self._checkpoint.save(self._state, self._stateful)

    def result(self) -> TrainingResult:
        """The model with the selected weights."""
        if self._checkpoint:
            self._checkpoint.flush()
        model, state, micro_batch = self._stepper.model, self._state, self._stepper.micro_batch
        assert state.best is not None
        model.load_state_dict(state.best.weights)
        return TrainingResult(
            model=model.eval(),
            step=state.best.step,
            validation=state.best.scores,
            history=state.history,
            seconds=state.seconds,
            micro_batch=micro_batch if micro_batch < self._settings.batch else None,
            stopped=state.step if self.stopped and state.step < self._steps else None,
            checkpoints=state.checkpoints,
        )

    def _reset_loss(self) -> None:
        self._loss_sum, self._loss_count = torch.zeros((), device=self._device), 0

    def _mean_loss(self, step: int) -> float:
        """Over the steps since the last evaluation."""
        loss = float(self._loss_sum) / self._loss_count
        if not np.isfinite(loss):
            raise DivergedError(f"the training loss is {loss} at step {step}, with lr={self._settings.lr:g}")
        return loss

    def _validate(self) -> tuple[dict[str, float], float]:
        """Scores and loss on validation."""
        data, validation = self._job.data, self._job.validation
        values, loss = predict(self._stepper.model, data, validation)
        return validation_scores(self._job.recipe.target, data.labels.cpu().numpy()[validation], values), loss

    def _keep_weights(self, step: int, found: dict[str, float] | None) -> None:
        state = self._state
        value = goodness(self._job.metric, found[self._job.metric]) if found else float(step)
        is_best = state.best is None or value > state.best.value
        if not (is_best or self._job.keep_all):
            return
        weights = {name: t.detach().cpu().clone() for name, t in self._stepper.model.state_dict().items()}
        if is_best:
            state.best = BestEvaluation(value=value, step=step, scores=found, weights=weights)
        if self._job.keep_all:
            state.checkpoints[step] = weights


def validation_scores(target: Target, truth: Truth, values: NDArray[np.float32]) -> dict[str, float]:
    """The scores of the validation side; of several labels also `threshold`, the one with the best macro F1."""
    if target.kind != "multilabel":
        return value_scores(target, truth, values.astype(np.float64))
    threshold = best_threshold(truth, values)
    return value_scores(target, truth, values.astype(np.float64), values >= threshold) | {THRESHOLD: threshold}


def class_counts(target: Target, truth: Tensor) -> Tensor | None:
    """How many utterances each class has [C], of votes the sum of their shares; None without one class an utterance.

    Args:
        truth: Of the training side, [n] or [n, K].
    """
    if not target.has_class:
        return None
    if target.kind == "distribution":
        return (truth / truth.sum(1, keepdim=True)).sum(0)
    labels = truth if truth.dim() == 1 else truth[:, 0].long()
    return torch.bincount(labels, minlength=len(target.classes))


def predict(model: FusionModel, data: TaskData, indices: Indices) -> tuple[NDArray[np.float32], float]:
    """Predicted values [n, K] in the order of `indices` [n], and the mean of the model's own loss over batches."""
    losses: list[float] = []

    def probabilities(outputs: Outputs, labels: Tensor) -> Tensor:
        losses.append(float(model.loss(outputs, labels)) * len(labels))
        return model.probabilities(outputs)

    return collect(model, data, indices, probabilities), sum(losses) / len(indices)


@torch.no_grad()
def collect(
    model: FusionModel, data: TaskData, indices: Indices, extract: Callable[[Outputs, Tensor], Tensor]
) -> NDArray[np.float32]:
    """Run the model in evaluation mode over `indices` [n].

    Args:
        extract: Takes the outputs and labels [B] of a batch, gives [B, ...].

    Returns:
        What `extract` gave, [n, ...], in the order of `indices`.
    """
    model.eval()
    values, order = [], []
    for batch_indices in data.evaluation_batches(indices):
        batch = data.batch(batch_indices)
        values.append(extract(model(*batch.inputs, **batch.context), batch.labels).cpu().numpy())
        order.append(batch_indices)
    position = {index: i for i, index in enumerate(np.concatenate(order).tolist())}
    return np.concatenate(values)[[position[i] for i in indices.tolist()]]

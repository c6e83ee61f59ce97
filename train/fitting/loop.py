"""The one training loop: Adam, a fixed number of steps (or passes), ten looks at validation, the best of them kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics import scores
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting.checkpoint import ModelRecipe
from emofuse.train.fitting.resume import Best, FoldCheckpoint, State, TrainingState
from emofuse.train.fitting.step import Stepper
from emofuse.train.models.base import FusionModel, Outputs
from emofuse.train.resolve.config import Precision

EVALUATIONS = 10


class DivergedError(UsageError):
    """A training whose loss is no number any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training one fold gives."""

    model: FusionModel
    """Carries the selected weights."""
    step: int
    """The step whose weights were selected."""
    validation: dict[str, float] | None
    """Validation scores at that step; none without validation."""
    history: list[dict[str, Any]]
    """One row per look: step, training loss since the last one, and validation loss and scores."""
    seconds: float
    """How long it took, over all calls."""
    at_once: int | None = None
    """Utterances that went through the model at once, where memory did not suffice for a batch."""
    checkpoints: dict[int, State] = field(default_factory=dict)
    """Every look's weights on the CPU, where they were asked for."""


def evaluation_steps(steps: int) -> list[int]:
    """The steps after which training is looked at: ten, evenly spaced, the last step among them."""
    return sorted({-(-steps * k // EVALUATIONS) for k in range(1, EVALUATIONS + 1)})


def train(
    recipe: ModelRecipe,
    corpus: TaskData,
    train: Indices,
    validation: Indices,
    *,
    metric: str,
    seed: int,
    class_weights: Tensor | None = None,
    precision: Precision = "fp32",
    keep_all: bool = False,
    keeper: FoldCheckpoint | None = None,
    on_step: Callable[[int, str], None] = lambda step, note: None,
) -> Trained:
    """Train a fresh model on `train` and select on `validation`; without validation the last step is taken.

    The corpus is standardised already. The same arguments give the same weights on the same machine. Ties go to the
    earlier look.

    Raises:
        DivergedError: The loss is no longer finite.

    Args:
        metric: The score that selects, a key of `metrics.scores`.
        precision: Of the products in a step; looks are computed in fp32.
        keeper: Where the state is kept at the looks, and from where an interrupted training goes on.
        on_step: Told each step done and a note for the progress line.
    """
    device, settings = corpus.labels.device, recipe.settings
    stepper = Stepper(recipe, device, seed, class_weights, precision)
    model, optimiser, generator = stepper.model, stepper.optimiser, stepper.generator
    at = (keeper.restore(model, optimiser, generator) if keeper else None) or TrainingState()
    every = corpus.training_batches(train, settings.batch, np.random.default_rng(seed))
    steps = settings.total_steps(len(train))
    batches, due = islice(every, at.step, None), set(evaluation_steps(steps))
    loss_sum, since, started, note = torch.zeros((), device=device), 0, time.monotonic() - at.seconds, ""
    for step in range(at.step + 1, steps + 1):
        loss_sum += stepper.step(corpus, next(batches), (step - 1) / steps)
        since += 1
        if step in due:
            loss = float(loss_sum) / since
            if not np.isfinite(loss):
                raise DivergedError(f"the training loss is {loss} by step {step}, at lr={settings.lr:g}")
            row: dict[str, Any] = {"step": step, "train_loss": loss}
            found: dict[str, float] | None = None
            if len(validation):
                probabilities, validation_loss = predict(model, corpus, validation)
                found = scores(corpus.labels.cpu().numpy()[validation], probabilities.argmax(1))
                row |= {"validation_loss": validation_loss} | {f"validation_{k}": v for k, v in found.items()}
                note = f"loss {loss:.3f}, validation {metric} {found[metric]:.3f}"
            else:
                note = f"loss {loss:.3f}"
            at.step, at.seconds = step, time.monotonic() - started
            at.history.append(row | {"seconds": round(at.seconds, 3)})
            value = found[metric] if found else float(step)
            better = at.best is None or value > at.best.value
            state = _copy(model) if keep_all or better else {}
            if better:
                at.best = Best(value=value, step=step, scores=found, weights=state)
            if keep_all:
                at.checkpoints[step] = state
            loss_sum, since = torch.zeros((), device=device), 0
            if keeper and step < steps:
                keeper.keep(at, model, optimiser, generator)
        on_step(step, note)
    assert at.best is not None
    if keeper:
        keeper.settle()
    model.load_state_dict(at.best.weights)
    return Trained(
        model=model.eval(),
        step=at.best.step,
        validation=at.best.scores,
        history=at.history,
        seconds=at.seconds,
        at_once=stepper.largest if stepper.largest < settings.batch else None,
        checkpoints=at.checkpoints,
    )


def _copy(model: FusionModel) -> State:
    return {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}


def predict(model: FusionModel, corpus: TaskData, indices: Indices) -> tuple[NDArray[np.float32], float]:
    """Class probabilities [n, C] in the order of `indices`, and the mean of the model's own loss over the batches."""
    losses: list[float] = []

    def take(outputs: Outputs, labels: Tensor) -> Tensor:
        losses.append(float(model.loss(outputs, labels)) * len(labels))
        return model.probabilities(outputs)

    return collect(model, corpus, indices, take), sum(losses) / len(indices)


@torch.no_grad()
def collect(
    model: FusionModel, corpus: TaskData, indices: Indices, take: Callable[[Outputs, Tensor], Tensor]
) -> NDArray[np.float32]:
    """What `take` takes of the outputs and labels of a batch, [B, ...], for all of `indices` in their order."""
    model.eval()
    found, order = [], []
    for some in corpus.evaluation_batches(indices):
        batch = corpus.batch(some)
        found.append(take(model(*batch.inputs), batch.labels).cpu().numpy())
        order.append(some)
    place = {index: i for i, index in enumerate(np.concatenate(order).tolist())}
    return np.concatenate(found)[[place[i] for i in indices.tolist()]]

"""Fits one fold: updates on its training side, evaluations on its validation side, and the best weights at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.common.system.machine import is_out_of_memory
from emofuse.extract.encoder_training.checkpoint import EncoderCheckpoint
from emofuse.extract.encoders.blocks.options import PRECISIONS
from emofuse.extract.finetune.checkpoint import FinetuneProgress
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.extract.finetune.network import Classifier
from emofuse.extract.finetune.source import FinetuneSource, Indices, evaluation_batches, training_batches
from emofuse.manifests.metrics.scores import scores


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneFold:
    """The data of one fold, and how a model is trained on them; the test side is not part of it."""

    source: FinetuneSource
    train: Indices
    validation: Indices
    settings: FinetuneSettings
    metric: str
    """The validation score that selects, a key of `metrics.scores`."""
    device: str
    class_weights: torch.Tensor | None = None
    """[C], in the loss; None weighs all classes alike."""


class FoldTraining:
    """The training of one fold, from its checkpoint on.

    Dropout follows from the seed and the number of the update, so that an interrupted fold resumes to the same weights
    on the same machine.
    """

    def __init__(self, model: Classifier, task: FinetuneFold, checkpoint: EncoderCheckpoint[FinetuneProgress]) -> None:
        self.model, self.task, self.settings, self.checkpoint = model.to(task.device), task, task.settings, checkpoint
        self.optimiser = model.optimiser(task.settings)
        self.progress, self.best = checkpoint.restore(dict(model.named_parameters()), self.optimiser)
        self.total, self.between_evaluations = task.settings.updates(len(task.train))
        self.blocks = len(model.tuning.blocks)
        self.scaler = torch.amp.GradScaler(
            task.device.partition(":")[0], enabled=task.settings.precision == "fp16", init_scale=2.0**14
        )
        if self.progress.scaler:
            self.scaler.load_state_dict(self.progress.scaler)
        self.note = ""
        """The latest loss and score, for the progress bar."""
        self._unfrozen = 0
        self._started = time.monotonic() - self.progress.seconds
        self._reset_loss()

    def run(self, on_update: Callable[[int, str], None]) -> None:
        """Update and evaluate until the fold ends; the model then has the weights of the best evaluation."""
        source, settings = self.task.source, self.settings
        indices = training_batches(source.sizes, self.task.train, settings.batch, settings.seed, self.progress.update)
        with contextlib.closing(source.ahead(indices)) as batches:
            while self.progress.update < self.total and self.progress.waited < settings.patience:
                self._advance(next(batches))
                if self.progress.update % self.between_evaluations == 0 or self.progress.update == self.total:
                    self._evaluate()
                on_update(self.progress.update, self.note)
        self.model.load_state_dict(self.best, strict=False)

    def _advance(self, batch: tuple[Indices, list[Any]]) -> None:
        update = self.progress.update
        self._unfrozen = self.settings.unfrozen(update, self.total, self.blocks)
        self.model.unfreeze(self._unfrozen)
        for group in self.optimiser.param_groups:
            group["lr"] = group["highest"] * self.settings.rate_factor(update, self.total)
        torch.manual_seed(self.settings.seed * 1_000_003 + update)
        try:
            self._losses += _update(self.model, self.optimiser, self.scaler, batch, self.task)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UsageError(f"the memory of {self.task.device} is full; {self.settings.memory_hint()}") from None
        self.progress.update += 1
        self._summed += 1

    def _evaluate(self) -> None:
        progress, metric = self.progress, self.task.metric
        loss = float(self._losses) / self._summed
        if not np.isfinite(loss):
            raise UsageError(
                f"the loss is {loss} by update {progress.update}: lower the learning rate, "
                f"--lr {self.settings.lr / 10:g}"
            )
        validation = validation_scores(self.model, self.task)
        progress.seconds, progress.scaler = time.monotonic() - self._started, self.scaler.state_dict()
        row = {"update": progress.update, "free": self._unfrozen, "loss": loss}
        row |= {f"validation_{name}": value for name, value in validation.items()}
        progress.history.append(row | {"seconds": round(progress.seconds, 3)})
        self.note = f"loss {loss:.3f}, validation {metric} {validation[metric]:.3f}"
        if not progress.best_scores or validation[metric] > progress.best_scores[metric]:
            progress.best_update, progress.best_scores, progress.waited = progress.update, validation, 0
            self.best = self.model.snapshot()
        elif self._unfrozen == self.blocks:
            progress.waited += 1
        self._reset_loss()
        self.checkpoint.keep(progress, self.model.trainable(), self.optimiser, self.best)

    def _reset_loss(self) -> None:
        self._losses, self._summed = torch.zeros((), device=self.task.device), 0


def fit_fold(
    model: Classifier,
    task: FinetuneFold,
    checkpoint: EncoderCheckpoint[FinetuneProgress],
    on_update: Callable[[int, str], None] = lambda update, note: None,
) -> FinetuneProgress:
    """Fit a model, which ends with the weights of the best evaluation; of equal scores the earlier one counts.

    Args:
        model: The model; it is moved to the task's device.
        task: The data and the settings.
        checkpoint: Where an interrupted fold resumes from, and where its state is stored.
        on_update: Called with the number of updates done and a note for the progress bar.

    Raises:
        UsageError: The loss is not finite, or the device's memory is full; says what to change.
    """
    training = FoldTraining(model, task, checkpoint)
    training.run(on_update)
    return training.progress


def _update(
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batch: tuple[Indices, list[Any]],
    task: FinetuneFold,
) -> torch.Tensor:
    """One update; returns the mean loss of its batch, a scalar tensor."""
    model.train()
    optimiser.zero_grad(set_to_none=True)
    mean = torch.zeros((), device=task.device)
    indices, items = batch
    labels = torch.from_numpy(task.source.labels[indices]).to(task.device)
    weight = len(labels) if task.class_weights is None else task.class_weights[labels].sum()
    for rows in np.array_split(np.arange(len(items)), task.settings.accumulate):
        if not len(rows):
            continue
        micro_batch = slice(rows[0], rows[-1] + 1)
        with _autocast(task):
            logits = model(items[micro_batch])
            loss = F.cross_entropy(logits, labels[micro_batch], task.class_weights, reduction="sum") / weight
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        mean += loss.detach()
    scaler.unscale_(optimiser)
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], task.settings.clip)
    scaler.step(optimiser)
    scaler.update()
    return mean


@torch.no_grad()
def validation_scores(model: Classifier, task: FinetuneFold) -> dict[str, float]:
    """`metrics.scores` of the model on the validation side."""
    model.eval()
    source, chosen = task.source, task.validation
    predicted: NDArray[np.int64] = np.zeros(len(source.utterances), np.int64)
    for indices, items in source.ahead(evaluation_batches(source.sizes, chosen, task.settings.batch)):
        with _autocast(task):
            predicted[indices] = model(items).argmax(1).cpu().numpy()
    return scores(source.labels[chosen], predicted[chosen])


def _autocast(task: FinetuneFold) -> torch.autocast:
    dtype = getattr(torch, PRECISIONS[task.settings.precision])
    return torch.autocast(task.device.partition(":")[0], dtype=dtype, enabled=task.settings.precision != "fp32")

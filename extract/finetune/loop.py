"""Fits one fold: updates on its training side, looks at its validation side, the best look's weights kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.common.system.machine import out_of_memory
from emofuse.extract.encoders.blocks.pretrained import PRECISIONS
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.extract.finetune.network import Classifier
from emofuse.extract.finetune.source import FinetuneSource, Indices, evaluation_batches, training_batches
from emofuse.extract.finetune.state import FinetuneCheckpoint, FinetuneState
from emofuse.manifests.metrics import scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Indices of a fold's utterances; the test side is not among them."""

    train: Indices
    validation: Indices


def fit_fold(
    model: Classifier,
    source: FinetuneSource,
    sides: Sides,
    settings: FinetuneSettings,
    *,
    metric: str,
    keeper: FinetuneCheckpoint,
    device: str,
    class_weights: torch.Tensor | None = None,
    on_update: Callable[[int, str], None] = lambda update, note: None,
) -> FinetuneState:
    """Fit a model, which carries the weights of the best look then; the earlier of equal looks.

    Chance (dropout) follows from the seed and the number of the update alone, so that a fold that was interrupted
    goes on to the same weights on the same machine.

    Args:
        metric: The score that selects, a key of `metrics.scores`.
        on_update: Told the number of updates done and a note for the progress line.

    Raises:
        UsageError: The loss is no longer a finite number, or the device's memory is full; says what to change.
    """
    model.to(device)
    optimiser = model.optimiser(settings)
    at, best = keeper.restore(model, optimiser)
    total, between = settings.updates(len(sides.train))
    blocks = len(model.tuning.blocks)
    half = settings.precision == "fp16"
    scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=half, init_scale=2.0**14)
    if at.scaler:
        scaler.load_state_dict(at.scaler)
    every = training_batches(source.sizes, sides.train, settings.batch, settings.seed, at.update)
    losses, started = torch.zeros((), device=device), time.monotonic() - at.seconds
    since, batches, note = 0, source.ahead(every), ""
    while at.update < total and at.waited < settings.patience:
        free = settings.freed(at.update, total, blocks)
        model.set_free(free)
        for group in optimiser.param_groups:
            group["lr"] = group["highest"] * settings.factor(at.update, total)
        torch.manual_seed(settings.seed * 1_000_003 + at.update)
        try:
            losses += _update(model, optimiser, scaler, batches, source, settings, device, class_weights)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise UsageError(f"the memory of {device} is full; {settings.advice()}") from None
        at.update += 1
        since += 1
        if at.update % between == 0 or at.update == total:
            loss = float(losses) / since
            if not np.isfinite(loss):
                raise UsageError(f"the loss is {loss} by update {at.update}: lower the rate, --lr {settings.lr / 10:g}")
            found = look(model, source, sides.validation, settings, device)
            at.seconds, at.scaler = time.monotonic() - started, scaler.state_dict()
            row = {"update": at.update, "free": free, "loss": loss, **{f"validation_{k}": v for k, v in found.items()}}
            at.history.append(row | {"seconds": round(at.seconds, 3)})
            note = f"loss {loss:.3f}, validation {metric} {found[metric]:.3f}"
            if not at.best_scores or found[metric] > at.best_scores[metric]:
                at.best_update, at.best_scores, at.waited, best = at.update, found, 0, model.fitted()
            elif free == blocks:
                at.waited += 1
            losses, since = torch.zeros((), device=device), 0
            keeper.keep(at, best, model, optimiser)
        on_update(at.update, note)
    batches.close()  # type: ignore[attr-defined]
    model.load_state_dict(best, strict=False)
    return at


def _update(
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batches: Any,
    source: FinetuneSource,
    settings: FinetuneSettings,
    device: str,
    class_weights: torch.Tensor | None,
) -> torch.Tensor:
    """One update; the mean loss of its batch."""
    model.train()
    optimiser.zero_grad(set_to_none=True)
    mean = torch.zeros((), device=device)
    indices, items = next(batches)
    labels = torch.from_numpy(source.labels[indices]).to(device)
    weight = len(labels) if class_weights is None else class_weights[labels].sum()
    for part in np.array_split(np.arange(len(items)), settings.accumulate):
        if not len(part):
            continue
        some = slice(part[0], part[-1] + 1)
        with _computing(settings, device):
            loss = F.cross_entropy(model(items[some]), labels[some], class_weights, reduction="sum") / weight
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        mean += loss.detach()
    scaler.unscale_(optimiser)
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], settings.clip)
    scaler.step(optimiser)
    scaler.update()
    return mean


@torch.no_grad()
def look(
    model: Classifier, source: FinetuneSource, chosen: Indices, settings: FinetuneSettings, device: str
) -> dict[str, float]:
    """`metrics.scores` of the model on utterances."""
    model.eval()
    found: NDArray[np.int64] = np.zeros(len(source.utterances), np.int64)
    for indices, items in source.ahead(evaluation_batches(source.sizes, chosen, settings.batch)):
        with _computing(settings, device):
            found[indices] = model(items).argmax(1).cpu().numpy()
    return scores(source.labels[chosen], found[chosen])


def _computing(settings: FinetuneSettings, device: str) -> torch.autocast:
    kind = getattr(torch, PRECISIONS[settings.precision])
    return torch.autocast(device.partition(":")[0], dtype=kind, enabled=settings.precision != "fp32")

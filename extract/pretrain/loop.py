"""Fits the network to a folder of audio: steps of the triplet loss, the mean of every few kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.blocks import trill_network
from emofuse.extract.pretrain.audio import Patches, TripletBatch
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.extract.pretrain.state import PretrainCheckpoint, PretrainState
from emofuse.extract.pretrain.triplets import proximity, triplet_loss

if TYPE_CHECKING:
    from emofuse.common.disk.tensor_file import State

LOOK = 10
"""Steps of a row of the history."""
_PROJECTION = "projection"


def fit(
    patches: Patches,
    settings: PretrainSettings,
    *,
    keeper: PretrainCheckpoint,
    device: str,
    on_step: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[State, PretrainState]:
    """Fit the network; its weights, and the history of the loss.

    Nothing in it is left to chance but what follows from the seed and the number of the step, so that a run that was
    interrupted goes on to the same weights on the same machine.

    Args:
        on_step: Told the number of steps done and a note for the progress line.

    Raises:
        UsageError: The loss is no longer a finite number, or the device's memory is full; says what to change.
    """
    parameters = initial(settings)
    for name, tensor in parameters.items():
        parameters[name] = tensor.to(device).requires_grad_()
    optimiser = _optimiser(parameters, settings)
    at = keeper.restore(parameters, optimiser)
    sums, since, note = torch.zeros(2, device=device), 0, ""
    started = time.monotonic() - at.seconds
    batches = patches.batches(at.step)
    while at.step < settings.steps:
        for group in optimiser.param_groups:
            group["lr"] = settings.rate(at.step)
        try:
            sums += _step(parameters, optimiser, next(batches), settings, device)
        except RuntimeError as error:  # torch names a full GPU by its own class, a full host by a text
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            raise UsageError(
                f"the memory of {device} is full with {settings.batch * settings.patches} patches at once: "
                f"--batch {max(2, settings.batch // 2)} takes half of them"
            ) from None
        at.step += 1
        since += 1
        if at.step % LOOK == 0 or at.step == settings.steps:
            loss, active = (sums / since).tolist()
            if not np.isfinite(loss):
                raise UsageError(f"the loss is {loss} by step {at.step}: lower the rate, --lr {settings.lr / 10:g}")
            at.seconds = time.monotonic() - started
            at.history.append({"step": at.step, "loss": round(loss, 6), "active": round(active, 4)})
            note = f"loss {loss:.3f}, {100 * active:.0f} % of triplets active"
            sums, since = torch.zeros(2, device=device), 0
            keeper.keep(at, parameters, optimiser)
        on_step(at.step, note)
    batches.close()  # type: ignore[attr-defined]
    return {name: t.detach().cpu() for name, t in parameters.items() if name != _PROJECTION}, at


def initial(settings: PretrainSettings) -> State:
    """The network's random weights and the projection's [D, projection], both by the seed alone."""
    generator = torch.Generator().manual_seed(settings.seed)
    projection = torch.randn(settings.dimension, settings.projection, generator=generator) / settings.dimension**0.5
    return {**trill_network.random_weights(settings.dimension, settings.seed), _PROJECTION: projection}


def _optimiser(parameters: State, settings: PretrainSettings) -> torch.optim.AdamW:
    """AdamW, whose decay leaves the norms' scales and shifts alone."""
    norms = [t for t in parameters.values() if t.ndim == 1]
    others = [t for t in parameters.values() if t.ndim > 1]
    groups = [{"params": others, "weight_decay": settings.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr)


def _step(
    parameters: State, optimiser: torch.optim.Optimizer, batch: TripletBatch, settings: PretrainSettings, device: str
) -> torch.Tensor:
    """One step; the loss of its batch and the share of active triplets, [2]."""
    optimiser.zero_grad(set_to_none=True)
    frames = trill_network.forward(parameters, batch.patches.to(device), (trill_network.LAYERS,))[:, 0]
    near = proximity(batch.recordings.to(device), batch.seconds.to(device), settings.tau)
    loss, active = triplet_loss(projected(parameters, frames), near, settings.delta)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return torch.stack([loss.detach(), active])


def projected(parameters: State, frames: torch.Tensor) -> torch.Tensor:
    """What distances are taken between, [N, projection], of the last layer's frames [N, D].

    The frames are means after a ReLU, which share one large part: projected without their mean over the batch taken
    away, all vectors of length 1 begin near each other, and the loss stays at the margin (benchmarks/NOTES.md).
    """
    centred = (frames - frames.mean(0)) / (frames.std(0) + 1e-5)
    return centred @ parameters[_PROJECTION]

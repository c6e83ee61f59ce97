"""Fits the network to a folder of audio by the triplet loss, and records the mean loss of every few steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from emofuse.common.errors import UsageError
from emofuse.common.system.machine import is_out_of_memory
from emofuse.extract.encoder_training.checkpoint import EncoderCheckpoint
from emofuse.extract.encoders.networks import trill_network
from emofuse.extract.pretrain.checkpoint import PretrainProgress
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.extract.pretrain.recordings import Patches, TripletBatch
from emofuse.extract.pretrain.triplets import proximity, triplet_loss

if TYPE_CHECKING:
    from emofuse.common.disk.tensor_file import State

HISTORY_STEPS = 10
"""Steps per row of the history."""
_PROJECTION = "projection"


class Pretraining:
    """A pre-training, from its checkpoint on.

    All randomness follows from the seed and the number of the step, so that an interrupted run resumes to the same
    weights on the same machine.
    """

    def __init__(
        self, settings: PretrainSettings, device: str, checkpoint: EncoderCheckpoint[PretrainProgress]
    ) -> None:
        self.settings, self.device, self.checkpoint = settings, device, checkpoint
        self.parameters = {name: t.to(device).requires_grad_() for name, t in initial(settings).items()}
        self.optimiser = _optimiser(self.parameters, settings)
        self.progress, _ = checkpoint.restore(self.parameters, self.optimiser)
        self.note = ""
        """The latest loss, for the progress bar."""
        self._started = time.monotonic() - self.progress.seconds
        self._reset_sums()

    def run(self, patches: Patches, on_step: Callable[[int, str], None]) -> None:
        """Do the remaining steps."""
        with contextlib.closing(patches.batches(self.progress.step)) as batches:
            while self.progress.step < self.settings.steps:
                self._advance(next(batches))
                if self.progress.step % HISTORY_STEPS == 0 or self.progress.step == self.settings.steps:
                    self._record()
                on_step(self.progress.step, self.note)

    def weights(self) -> State:
        """The network's parameters on the CPU, without the projection."""
        return {name: t.detach().cpu() for name, t in self.parameters.items() if name != _PROJECTION}

    def _advance(self, batch: TripletBatch) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.progress.step)
        try:
            self._sums += _step(self.parameters, self.optimiser, batch, self.settings, self.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UsageError(
                f"the memory of {self.device} is full with {self.settings.batch * self.settings.patches} patches at "
                f"once: --batch {max(2, self.settings.batch // 2)} halves them"
            ) from None
        self.progress.step += 1
        self._summed += 1

    def _record(self) -> None:
        progress = self.progress
        loss, active = (self._sums / self._summed).tolist()
        if not np.isfinite(loss):
            raise UsageError(
                f"the loss is {loss} by step {progress.step}: lower the learning rate, --lr {self.settings.lr / 10:g}"
            )
        progress.seconds = time.monotonic() - self._started
        progress.history.append({"step": progress.step, "loss": round(loss, 6), "active": round(active, 4)})
        self.note = f"loss {loss:.3f}, {100 * active:.0f} % of triplets active"
        self._reset_sums()
        self.checkpoint.keep(progress, self.parameters, self.optimiser)

    def _reset_sums(self) -> None:
        """Sums of the loss and of the share of active triplets, [2], and the number of steps in them."""
        self._sums, self._summed = torch.zeros(2, device=self.device), 0


def fit(
    patches: Patches,
    settings: PretrainSettings,
    *,
    checkpoint: EncoderCheckpoint[PretrainProgress],
    device: str,
    on_step: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[State, PretrainProgress]:
    """Fit the network.

    Args:
        patches: The batches.
        settings: How the network is trained.
        checkpoint: Where an interrupted run resumes from, and where its state is stored.
        device: A torch device name.
        on_step: Called with the number of steps done and a note for the progress bar.

    Returns:
        The network's weights on the CPU, and the progress with the history of the loss.

    Raises:
        UsageError: The loss is not finite, or the device's memory is full; says what to change.
    """
    training = Pretraining(settings, device, checkpoint)
    training.run(patches, on_step)
    return training.weights(), training.progress


def initial(settings: PretrainSettings) -> State:
    """The network's random weights and the projection [D, projection]; both follow from the seed."""
    generator = torch.Generator().manual_seed(settings.seed)
    projection = torch.randn(settings.dimension, settings.projection, generator=generator) / settings.dimension**0.5
    return {**trill_network.random_weights(settings.dimension, settings.seed), _PROJECTION: projection}


def _optimiser(parameters: State, settings: PretrainSettings) -> torch.optim.AdamW:
    """AdamW without weight decay on the scales and shifts of the norms."""
    norms = [t for t in parameters.values() if t.ndim == 1]
    others = [t for t in parameters.values() if t.ndim > 1]
    groups = [{"params": others, "weight_decay": settings.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr)


def _step(
    parameters: State, optimiser: torch.optim.Optimizer, batch: TripletBatch, settings: PretrainSettings, device: str
) -> torch.Tensor:
    """One step; returns the loss of its batch and the share of active triplets, [2]."""
    optimiser.zero_grad(set_to_none=True)
    frames = trill_network.forward(parameters, batch.patches.to(device), (trill_network.LAYERS,))[:, 0]
    near = proximity(batch.recordings.to(device), batch.seconds.to(device), settings.tau)
    loss, active = triplet_loss(projected(parameters, frames), near, settings.delta)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return torch.stack([loss.detach(), active])


def projected(parameters: State, frames: torch.Tensor) -> torch.Tensor:
    """The vectors [N, projection] that distances are taken between, from the frames [N, D] of the last layer.

    The frames are means after a ReLU and share a large common component. Without subtracting their mean over the batch,
    all unit-length projections start close to each other, and the loss stays at the margin (benchmarks/NOTES.md).
    """
    centred = (frames - frames.mean(0)) / (frames.std(0) + 1e-5)
    return centred @ parameters[_PROJECTION]

"""Averages of a model's weights over training steps, which are evaluated and kept in place of the weights.

EMA is the exponential moving average with decay d: each step moves the average by 1 - d towards the weights. In the
first steps the decay is (1 + step) / (10 + step), if that is lower, so that the initial weights fade soon (TensorFlow's
rule).
SWA (Izmailov et al., UAI 2018) is the plain mean of the weights after each step of the end of the training.

Averaged weights need statistics of batch norm of their own: they are computed again over the training side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from emofuse.train.data.batches import Batch
from emofuse.train.models.base import FusionModel
from emofuse.train.models.config import Config


class WeightAverage:
    """The average of the weights of a model.

    Args:
        model: Freshly initialised.
        settings: `ema` or `swa` is set.
        steps: Of the training.
    """

    def __init__(self, model: FusionModel, settings: Config, steps: int) -> None:
        self._model, self._decay = model, settings.ema
        self._before = 0 if settings.ema else steps - math.ceil(settings.swa * steps)
        """The last step that is not averaged."""
        self.weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        """Parameter's name -> its average."""

    def update(self, step: int) -> None:
        """Take in the weights after a step."""
        if step > self._before:
            torch._foreach_lerp_(list(self.weights.values()), list(self._model.parameters()), self._share(step))

    def _share(self, step: int) -> float:
        """How far the average moves towards the weights."""
        if self._decay:
            return 1 - min(self._decay, (1 + step) / (10 + step))
        return 1 / (step - self._before)

    @contextmanager
    def applied(self, step: int, batches: Iterable[Batch]) -> Iterator[None]:
        """Inside the context, the model has the averaged weights; before the first averaged step, its own.

        Args:
            step: The last training step.
            batches: One pass over the training side, from which the statistics of batch norm are computed.
        """
        if step <= self._before:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        try:
            self._model.load_state_dict(self.weights, strict=False)
            _measure_batch_norm(self._model, batches)
            yield
        finally:
            self._model.load_state_dict(own)


@torch.no_grad()
def _measure_batch_norm(model: FusionModel, batches: Iterable[Batch]) -> None:
    """Set the running statistics of batch norm to their means over batches; leaves a model without batch norm alone."""
    norms: list[Any] = [module for module in model.modules() if getattr(module, "running_mean", None) is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.train()
    for number, batch in enumerate(batches, 1):
        for norm in norms:
            norm.momentum = 1 / number  # a running mean: the first batch replaces what was there
        model(*batch.inputs, **batch.context)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum

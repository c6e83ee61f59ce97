"""One training step: gather, draw, forward, backward, Adam; in smaller pieces where the memory does not suffice."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from emofuse.common.errors import UsageError
from emofuse.common.system.machine import out_of_memory
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting.checkpoint import ModelRecipe
from emofuse.train.resolve.config import Precision


class Stepper:
    """A fresh model, its optimiser, and the generator that the model draws from.

    Args:
        recipe: How the model is built, from `seed`.
        class_weights: [C], of the loss.
        precision: What products are computed in: fp32, tf32 (see `set_products`) or bf16. Weights stay fp32.
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        device: torch.device,
        seed: int,
        class_weights: Tensor | None = None,
        precision: Precision = "fp32",
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = recipe.build().to(device)
        self.model.class_weights = class_weights
        settings = recipe.settings
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        self.generator = torch.Generator(device).manual_seed(seed)
        self.largest = settings.batch
        """Utterances that go through the model at once: halved where memory does not suffice."""

    def step(self, corpus: TaskData, indices: Indices, progress: float) -> Tensor:
        """Train on one batch; gives its loss, on the device.

        Raises:
            UsageError: Not even one utterance fits in memory.
        """
        while True:
            drawn = self.generator.get_state()
            held = [buffer.clone() for buffer in self.model.buffers()]  # what batch norm has seen so far
            try:
                return self._step(corpus, indices, progress)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            self.generator.set_state(drawn)
            for buffer, before in zip(self.model.buffers(), held, strict=True):
                buffer.copy_(before)
            self._shrink(min(self.largest, len(indices)))

    def _step(self, corpus: TaskData, indices: Indices, progress: float) -> Tensor:
        model, device = self.model.train(), corpus.labels.device
        self.optimiser.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=device)
        for some in np.array_split(indices, -(-len(indices) // self.largest)):
            batch = corpus.batch(some)
            audio, _, text, _ = batch.inputs
            frames, words = (0 if x is None else x.shape[1] for x in (audio, text))
            draws = model.draw(len(some), frames, words, self.generator)
            with self.autocast:
                part = model.loss(model(*batch.inputs, draws=draws, progress=progress), batch.labels)
            if len(some) < len(indices):
                part = part * (len(some) / len(indices))
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        self.optimiser.step()
        return loss

    def _shrink(self, tried: int) -> None:
        if tried == 1:
            raise UsageError("not even one utterance at a time fits in memory: free some, or take another --device")
        self.largest = -(-tried // 2)
        if self.generator.device.type == "cuda":
            torch.cuda.empty_cache()
        told = (
            f"{tried} utterances at once do not fit in memory; going on with {self.largest}, batches as large as before"
        )
        print(told, file=sys.stderr, flush=True)


def set_products(precision: Precision) -> None:
    """Have a GPU's products, convolutions and recurrences computed in TF32, or not: torch's own default is mixed."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"

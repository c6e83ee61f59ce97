"""A classifier over an encoder with gradual unfreezing of its layers.

The last layer is trained first; after a number of updates the layer before it is unfrozen too, until the whole network
is trained. Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3; the slides of TRILL-T5 use it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from emofuse.extract.finetune.config import FinetuneSettings, peak_rates

if TYPE_CHECKING:
    from emofuse.common.disk.tensor_file import State
    from emofuse.extract.encoders.base import Array
    from emofuse.extract.encoders.blocks.tuning import Tuning


class Classifier(nn.Module):
    """Mean over the encoder's frames, dropout, one linear layer."""

    def __init__(self, tuning: Tuning, classes: int, settings: FinetuneSettings) -> None:
        super().__init__()
        self.encoder, self.tuning = tuning.module, tuning
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(tuning.dimension, classes)

    def forward(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        """Logits [B, C] of B waveforms [samples] or texts."""
        logits: torch.Tensor = self.head(self.dropout(self.tuning.pooled(items).float()))
        return logits

    def unfreeze(self, blocks: int) -> None:
        """Train the last `blocks` of the encoder's blocks and the head; freeze everything else."""
        self.encoder.requires_grad_(False)
        for block in self.tuning.blocks[len(self.tuning.blocks) - blocks :]:
            for parameter in block.parameters:
                parameter.requires_grad_(True)

    def optimiser(self, settings: FinetuneSettings) -> torch.optim.AdamW:
        """AdamW with a group for each block and one for the head; the key `highest` is the group's peak rate."""
        rates = peak_rates(settings, [block.name for block in self.tuning.blocks])
        groups = [
            {"params": list(block.parameters), "lr": 0.0, "highest": rate}
            for block, rate in zip(self.tuning.blocks, rates, strict=True)
        ]
        groups.append({"params": list(self.head.parameters()), "lr": 0.0, "highest": settings.head_lr})
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)

    def trainable(self) -> State:
        """The parameters of all blocks and the head, by name, whether they are unfrozen or not."""
        names = {id(p): name for name, p in self.named_parameters()}
        chosen = [p for block in self.tuning.blocks for p in block.parameters] + list(self.head.parameters())
        return {names[id(p)]: p for p in chosen}

    def snapshot(self) -> State:
        """A copy of `trainable` on the CPU."""
        return {name: p.detach().cpu().clone() for name, p in self.trainable().items()}

"""A classifier over an encoder, and which of the encoder's layers are free to change.

Gradual unfreezing, as the slides of the TRILL-T5 source have it (Pretrained models, "Fine-tune models"): first the
last layer, after a number of updates the one before it too, until the whole network is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from emofuse.extract.finetune.config import FinetuneSettings, rates

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
        """Logits [B, C] of waveforms [samples] or texts."""
        logits: torch.Tensor = self.head(self.dropout(self.tuning.pooled(items).float()))
        return logits

    def set_free(self, blocks: int) -> None:
        """Let the last `blocks` of the encoder's blocks change, and the head; nothing else."""
        self.encoder.requires_grad_(False)
        for block in self.tuning.blocks[len(self.tuning.blocks) - blocks :]:
            for parameter in block.parameters:
                parameter.requires_grad_(True)

    def optimiser(self, settings: FinetuneSettings) -> torch.optim.AdamW:
        """AdamW with a group for each block, whose key `highest` holds its highest rate, and one for the head."""
        highest = rates(settings, [block.name for block in self.tuning.blocks])
        groups = [
            {"params": list(block.parameters), "lr": 0.0, "highest": rate}
            for block, rate in zip(self.tuning.blocks, highest, strict=True)
        ]
        groups.append({"params": list(self.head.parameters()), "lr": 0.0, "highest": settings.head_lr})
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)

    def fitted(self) -> State:
        """A copy of what may have changed, on the CPU."""
        names = {id(p): name for name, p in self.named_parameters()}
        changing = [p for block in self.tuning.blocks for p in block.parameters] + list(self.head.parameters())
        return {names[id(p)]: p.detach().cpu().clone() for p in changing}

"""Which utterances of a batch belong to one dialogue, in which order, and who speaks.

Shapes: B utterances of the batch, K dialogues, N turns of the longest dialogue, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from emofuse.train.models.blocks.layers import time_mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogues:
    """The dialogues of a batch; each utterance of the batch is in exactly one of them."""

    rows: Tensor
    """[K, N], the row of each turn in the batch; 0 on padding."""
    places: Tensor
    """[B], the turn of each row, as a position in [K * N]."""
    lengths: Tensor
    """[K], turns before padding, at least 1."""
    speakers: Tensor
    """[K, N], the number of the speaker within the dialogue, from 0; 0 on padding."""
    parties: int
    """More than any number in `speakers`."""

    @staticmethod
    def of_single_utterances(batch: int, device: torch.device) -> Dialogues:
        """Each of `batch` utterances as a dialogue of one turn."""
        places = torch.arange(batch, device=device)
        rows = places.unsqueeze(1)
        return Dialogues(
            rows=rows, places=places, lengths=torch.ones_like(places), speakers=torch.zeros_like(rows), parties=1
        )

    @property
    def mask(self) -> Tensor:
        """[K, N], true before padding."""
        return time_mask(self.lengths, self.rows.shape[1], self.rows.device)

    def arranged(self, x: Tensor) -> Tensor:
        """Values of the batch [B, D] by dialogue and turn [K, N, D], zero on padding."""
        return x[self.rows].masked_fill(~self.mask.unsqueeze(2), 0)

    def in_rows(self, x: Tensor) -> Tensor:
        """The inverse of `arranged`: [K, N, D] -> [B, D]; padding is left out."""
        return x.flatten(0, 1)[self.places]

    def reversed(self) -> Dialogues:
        """The same dialogues, each from its last turn to its first."""
        turns = self.rows.shape[1]
        mirror = (self.lengths.unsqueeze(1) - 1 - torch.arange(turns, device=self.rows.device)).clamp(min=0)
        rows, speakers = (x.gather(1, mirror).masked_fill(~self.mask, 0) for x in (self.rows, self.speakers))
        dialogue, turn = self.places // turns, self.places % turns
        places = dialogue * turns + self.lengths[dialogue] - 1 - turn
        return replace(self, rows=rows, speakers=speakers, places=places)

    def is_speaking(self) -> Tensor:
        """[K, N, `parties`], true for the speaker of each turn."""
        return self.speakers.unsqueeze(2) == torch.arange(self.parties, device=self.speakers.device)

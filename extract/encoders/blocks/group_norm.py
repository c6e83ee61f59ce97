"""Group norm over the real samples of padded waveforms.

The base models of HuBERT, wav2vec 2.0 and WavLM normalise each channel of their first convolution over all of time,
so the padding of a batch changes every frame of its shorter utterances, attention mask or not. Here the statistics
are taken over the frames of the real samples alone, which gives what each utterance gives by itself.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import group_norm, pad


class MaskedGroupNorm(nn.Module):
    """One group per channel, normalised over the first `lengths[i]` frames of each item.

    Args:
        norm: The layer to replace; its weight, bias and epsilon are kept.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        if norm.num_groups != norm.num_channels:
            raise ValueError(
                f"{norm.num_groups} groups for {norm.num_channels} channels, expected one group per channel"
            )
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.lengths = torch.empty(0, dtype=torch.long)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[B, C, T] normalised; frames beyond an item's length are of no use."""
        # torch's own norm, item by item: masked sums over all items read [B, C, T], the widest array, six times.
        channels, lengths = hidden.shape[1], self.lengths.tolist()
        if min(lengths) == hidden.shape[2]:
            return group_norm(hidden, channels, self.weight, self.bias, self.eps)
        normed = [
            group_norm(item[None, :, :length], channels, self.weight, self.bias, self.eps)
            for item, length in zip(hidden, lengths, strict=True)
        ]
        if hidden.requires_grad:
            return torch.cat([pad(item, (0, hidden.shape[2] - item.shape[2])) for item in normed])
        for row, item in zip(hidden, normed, strict=True):
            row[:, : item.shape[2]] = item[0]
        return hidden

"""Group norm over the valid frames of padded waveforms.

The base models of HuBERT, wav2vec 2.0 and WavLM normalise each channel of their first convolution over all of time, so
the padding of a batch changes every frame of its shorter utterances, with or without attention mask. This norm takes
its statistics over the frames of the utterance only, which gives the values of each utterance encoded alone.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import group_norm, pad


class MaskedGroupNorm(nn.Module):
    """Normalises each channel over the first `lengths[i]` frames of item i.

    Args:
        norm: The layer to replace, with one group per channel; its weight, bias and epsilon are kept.

    Raises:
        ValueError: The layer has fewer groups than channels.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        if norm.num_groups != norm.num_channels:
            raise ValueError(
                f"{norm.num_groups} groups for {norm.num_channels} channels, expected one group per channel"
            )
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.lengths = torch.empty(0, dtype=torch.long)
        """Valid frames [B] of the next batch; set it before every forward pass."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalise [B, C, T]; frames beyond an item's length have no meaning."""
        # torch's own norm, item by item: masked sums over the batch would read [B, C, T], the widest array, six times.
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

"""Group norm over the real samples of padded waveforms.

The base models of HuBERT, wav2vec 2.0 and WavLM normalise each channel of their first convolution over all of time,
so the padding of a batch changes every frame of its shorter utterances, attention mask or not. Here the statistics
are taken over the frames of the real samples alone, which gives what each utterance gives by itself.
"""

from __future__ import annotations

import torch
from torch import nn


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
        real = torch.arange(hidden.shape[2], device=hidden.device) < self.lengths[:, None, None]
        count = self.lengths[:, None, None]
        wide = hidden.float() * real
        mean = wide.sum(dim=2, keepdim=True) / count
        centred = (wide - mean) * real
        variance = centred.square().sum(dim=2, keepdim=True) / count
        scale = (variance + self.eps).rsqrt() * self.weight.float()[:, None]
        return (centred * scale + self.bias.float()[:, None]).to(hidden.dtype)

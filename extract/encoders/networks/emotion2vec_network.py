"""The network of emotion2vec: data2vec 2.0's encoder of audio.

Seven convolutions with layer norm over the raw waveform (a frame every 20 ms), a projection, five positional
convolutions, ten learned tokens before the frames, then transformer layers with their norms after the residuals and
with ALiBi: a bias that falls linearly with the distance, by a slope per head times a learned scale. The first layers
(4) are those of the modality, the others (8) those of the model; here they are numbered in one row.

The frames of padding are set to zero before each positional convolution, which pads with zeros itself, and nothing
attends to them, so an utterance has the values that it has alone.

Papers: Ma et al. 2024, https://arxiv.org/abs/2312.15185; Baevski et al. 2023, https://arxiv.org/abs/2212.07525;
Press et al. 2022 (ALiBi), https://arxiv.org/abs/2108.12409
Code: https://github.com/ddlBoJack/emotion2vec
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.networks.named_layers import EPSILON, affine, linear, norm
from emofuse.extract.encoders.networks.relative_attention import attend, join_heads, split_heads

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""Of the convolutions over the waveform."""
SHORTEST, FRAME_SAMPLES = 400, 320
"""Samples: what the convolutions need for one frame, and the step between frames (20 ms)."""
AUDIO = "modality_encoders.AUDIO."
"""How the names of the audio encoder's parameters begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emotion2vecNetwork:
    """The sizes of a network, the base model's by default, and its forward pass."""

    dimension: int = 768
    """D."""
    channels: int = 512
    """Of the convolutions over the waveform."""
    heads: int = 12
    inner: int = 3072
    """Width inside the feed-forward layers."""
    prenet: int = 4
    """Transformer layers of the audio encoder."""
    main: int = 8
    """Transformer layers of the model."""
    tokens: int = 10
    """Learned tokens before the frames."""
    positional: tuple[int, int, int] = (5, 19, 16)
    """Positional convolutions: their number, width and groups."""
    scales: tuple[int, int] = (1, 12)
    """Learned ALiBi scales: one, or one per layer; one, or one per head."""

    frame_samples = FRAME_SAMPLES

    @property
    def depth(self) -> int:
        """Number of transformer layers."""
        return self.prenet + self.main

    def identity(self) -> dict[str, Any]:
        """What changes the values beside the weights."""
        return {"normalise": "zero mean, unit variance", "short_clips": "zeros up to one frame"}

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples`; a shorter clip than `SHORTEST` is zero-padded to it."""
        samples = max(samples, SHORTEST)
        for kernel, stride in zip(KERNELS, STRIDES, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def prepare(self, waveform: Array) -> Array:
        """The waveform [samples at 16 kHz] with zero mean and unit variance, zero-padded to one frame."""
        mean, variance = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
        normal = ((waveform - mean) / np.sqrt(variance + EPSILON)).astype(np.float32)
        return np.pad(normal, (0, max(0, SHORTEST - len(normal))))

    def layer_of(self, name: str) -> int:
        """The number of the transformer layer that a parameter belongs to; 0 for what lies before them."""
        found = re.search(r"(context_encoder\.)?blocks\.(\d+)\.", name)
        return 0 if found is None else int(found[2]) + 1 + (0 if found[1] else self.prenet)

    def _layer_names(self) -> list[str]:
        """How the names of each transformer layer's parameters begin."""
        audio = [f"{AUDIO}context_encoder.blocks.{n}." for n in range(self.prenet)]
        return audio + [f"blocks.{n}." for n in range(self.main)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by its published name."""
        wide, (count, width, groups) = (self.dimension,), self.positional
        shapes: dict[str, tuple[int, ...]] = {
            f"{AUDIO}extra_tokens": (1, self.tokens, *wide),
            f"{AUDIO}alibi_scale": (self.scales[0], 1, self.scales[1], 1, 1),
            **affine(f"{AUDIO}project_features.1", (self.channels,)),
            **affine(f"{AUDIO}project_features.2", (*wide, self.channels)),
            **affine(f"{AUDIO}context_encoder.norm", wide),
        }
        for n, kernel in enumerate(KERNELS):
            name = f"{AUDIO}local_encoder.conv_layers.{n}"
            shapes[f"{name}.0.weight"] = (self.channels, self.channels if n else 1, kernel)
            shapes |= affine(f"{name}.2.1", (self.channels,))
        for n in range(1, count + 1):
            shape = (*wide, self.dimension // groups, width)
            shapes |= affine(f"{AUDIO}relative_positional_encoder.{n}.0", shape)
        for layer in self._layer_names():
            shapes |= affine(f"{layer}attn.qkv", (3 * self.dimension, *wide)) | affine(f"{layer}attn.proj", 2 * wide)
            shapes |= affine(f"{layer}mlp.fc1", (self.inner, *wide)) | affine(f"{layer}mlp.fc2", (*wide, self.inner))
            shapes |= affine(f"{layer}norm1", wide) | affine(f"{layer}norm2", wide)
        return shapes

    def states(
        self, weights: Tensors, inputs: torch.Tensor, sizes: Sequence[int], numbers: Sequence[int]
    ) -> torch.Tensor:
        """The layers `numbers`, [B, T, L, D], of prepared waveforms.

        Args:
            weights: Parameters by name.
            inputs: Waveforms [B, samples], zero-padded.
            sizes: Samples of each.
            numbers: 0 is the input of the first transformer layer, `depth` the model's output.
        """
        import torch
        import torch.nn.functional as F

        hidden = self._local(weights, inputs)
        counts = torch.tensor([self.frames(size) for size in sizes], device=inputs.device)
        padding = torch.arange(hidden.shape[1], device=inputs.device) >= counts[:, None]
        hidden = hidden.masked_fill(padding[:, :, None], 0)
        hidden = hidden + self._positions(weights, hidden, padding)
        tokens = weights[f"{AUDIO}extra_tokens"].expand(len(hidden), -1, -1)
        hidden = norm(weights, f"{AUDIO}context_encoder.norm", torch.cat([tokens, hidden], dim=1))
        distances = torch.arange(1 - len(padding[0]), len(padding[0]), device=inputs.device).abs()
        slopes = -torch.tensor(alibi_slopes(self.heads), device=inputs.device)[:, None] * distances
        padding = F.pad(padding, (self.tokens, 0))
        scales = weights[f"{AUDIO}alibi_scale"].float().clamp_min(0).flatten(1)[:, :, None]
        states = {0: hidden}
        for number, layer in enumerate(self._layer_names()[: max(numbers)], 1):
            biases = slopes * scales[number - 1 if len(scales) > 1 else 0]
            hidden = self._layer(weights, layer, hidden, biases, padding)
            if number in numbers:
                states[number] = hidden
        return torch.stack([states[n][:, self.tokens :] for n in numbers], dim=2)

    def _local(self, weights: Tensors, waveforms: torch.Tensor) -> torch.Tensor:
        """Projected frames [B, T, D] of waveforms [B, samples]; each depends on its own 25 ms alone."""
        import torch.nn.functional as F

        hidden = waveforms[:, None]
        for n, stride in enumerate(STRIDES):
            name = f"{AUDIO}local_encoder.conv_layers.{n}"
            hidden = F.conv1d(hidden, weights[f"{name}.0.weight"], stride=stride).transpose(1, 2)
            hidden = F.gelu(norm(weights, f"{name}.2.1", hidden).transpose(1, 2))
        frames = norm(weights, f"{AUDIO}project_features.1", hidden.transpose(1, 2))
        return linear(weights, f"{AUDIO}project_features.2", frames)

    def _positions(self, weights: Tensors, hidden: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """What the positional convolutions add to frames [B, T, D]."""
        import torch.nn.functional as F

        count, width, groups = self.positional
        for n in range(1, count + 1):
            name = f"{AUDIO}relative_positional_encoder.{n}.0"
            kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            hidden = F.conv1d(hidden.transpose(1, 2), kernel, bias, padding=width // 2, groups=groups).transpose(1, 2)
            hidden = F.gelu(F.layer_norm(hidden[:, : padding.shape[1]], (self.dimension,)))
            hidden = hidden.masked_fill(padding[:, :, None], 0)
        return hidden

    def _layer(
        self, weights: Tensors, name: str, hidden: torch.Tensor, biases: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        import torch.nn.functional as F

        parts = linear(weights, f"{name}attn.qkv", hidden).chunk(3, dim=2)
        query, key, value = (split_heads(part, self.heads) for part in parts)
        attended = attend(query, key, value, biases, padding, extra=self.tokens)
        hidden = hidden + linear(weights, f"{name}attn.proj", join_heads(attended))
        hidden = norm(weights, f"{name}norm1", hidden)
        inner = F.gelu(linear(weights, f"{name}mlp.fc1", hidden))
        return norm(weights, f"{name}norm2", hidden + linear(weights, f"{name}mlp.fc2", inner))


def alibi_slopes(heads: int) -> list[float]:
    """ALiBi's slope of each head: a geometric series; beyond a power of two, every other one of the next series."""
    whole = 2 ** math.floor(math.log2(heads))
    series = [2 ** (-8 * n / whole) for n in range(1, whole + 1)]
    between = [2 ** (-4 * n / whole) for n in range(1, 2 * whole + 1, 2)]
    return series + between[: heads - whole]

"""The network of BEATs: a transformer over patches of 16 x 16 log-Mel values (160 ms x 16 bands).

Kaldi's 128 log-Mel bands, shifted and scaled by the published constants, are cut into patches, eight to 160 ms. Each is
projected; a positional convolution is added; then come transformer layers with DeepNorm (the residual times a factor,
the norm after it) and a gated bias for relative positions, which all layers share and each layer gates by its own
queries. As WavLM's, except for DeepNorm.

Patches of padding are set to zero before the positional convolution, which pads with zeros itself, and nothing attends
to them, so an utterance has the values that it has alone. A frame is the mean over the eight patches of 160 ms.

Papers: Chen et al. 2023, https://arxiv.org/abs/2212.09058; Wang et al. 2022 (DeepNorm),
https://arxiv.org/abs/2203.00555; Chi et al. 2022 (gated bias), https://arxiv.org/abs/2106.16138
Code: https://github.com/microsoft/unilm/tree/master/beats
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.blocks.kaldi_fbank import SHIFT, WINDOW, clip_banks, count_windows
from emofuse.extract.encoders.networks.named_layers import affine, linear, norm
from emofuse.extract.encoders.networks.relative_attention import attend, join_heads, split_heads

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

BANDS, PATCH = 128, 16
"""Mel bands; windows and bands of a patch."""
MEAN, DEVIATION = 15.41663, 6.55582
"""Of the log-Mel values of AudioSet; published."""
SHORTEST = WINDOW + (PATCH - 1) * SHIFT
"""Samples that one patch covers: 175 ms."""
MAX_DISTANCE = 800
"""Tokens from which on all distances share a bucket."""
SETTINGS: dict[str, Any] = {
    "input_patch_size": PATCH, "layer_norm_first": False, "deep_norm": True, "gru_rel_pos": True,
    "relative_position_embedding": True, "max_distance": MAX_DISTANCE, "activation_fn": "gelu", "conv_bias": False,
}  # fmt: skip
"""Settings of all published checkpoints that their shapes do not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatsNetwork:
    """The sizes of a network, the published ones by default, and its forward pass."""

    dimension: int = 768
    """D."""
    embedding: int = 512
    """Width of a patch before its projection; none is done where it is D."""
    heads: int = 12
    inner: int = 3072
    """Width inside the feed-forward layers."""
    depth: int = 12
    """Transformer layers."""
    positional: tuple[int, int] = (128, 16)
    """Width and groups of the positional convolution."""
    buckets: int = 320
    """Relative positions that have a bias of their own."""

    frame_samples = PATCH * SHIFT

    def identity(self) -> dict[str, Any]:
        """What changes the values beside the weights."""
        return {
            "fbank": {"bands": BANDS, "mean": MEAN, "deviation": 2 * DEVIATION, "kind": "Kaldi, 25/10 ms"},
            "short_clips": "zeros up to one patch",
            "last_patch": "dropped unless whole",
            "bands": "mean over the patches of a frame",
        }

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples`; a shorter clip than `SHORTEST` is zero-padded to it."""
        return count_windows(max(samples, SHORTEST)) // PATCH

    def prepare(self, waveform: Array) -> Array:
        """Log-Mel values [16 T, 128] of a waveform [samples at 16 kHz], which is zero-padded to one patch."""
        filled = np.pad(waveform, (0, max(0, SHORTEST - len(waveform))))
        banks = clip_banks(filled, BANDS)[: PATCH * self.frames(len(filled))]
        prepared: Array = ((banks - MEAN) / (2 * DEVIATION)).numpy()
        return prepared

    def layer_of(self, name: str) -> int:
        """The number of the transformer layer that a parameter belongs to; 0 for what lies before them."""
        found = re.match(r"encoder\.layers\.(\d+)\.", name)
        return 0 if found is None else int(found[1]) + 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by its published name, with the norm of `pos_conv` multiplied in."""
        wide, (width, groups) = (self.dimension,), self.positional
        shapes: dict[str, tuple[int, ...]] = {
            "patch_embedding.weight": (self.embedding, 1, PATCH, PATCH),
            **affine("layer_norm", (self.embedding,)),
            **(affine("post_extract_proj", (*wide, self.embedding)) if self.embedding != self.dimension else {}),
            **affine("encoder.pos_conv.0", (*wide, self.dimension // groups, width)),
            **affine("encoder.layer_norm", wide),
            "encoder.layers.0.self_attn.relative_attention_bias.weight": (self.buckets, self.heads),
        }
        for n in range(self.depth):
            name = f"encoder.layers.{n}."
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                shapes |= affine(f"{name}self_attn.{part}", 2 * wide)
            shapes |= affine(f"{name}self_attn.grep_linear", (8, self.dimension // self.heads))
            shapes[f"{name}self_attn.grep_a"] = (1, self.heads, 1, 1)
            shapes |= affine(f"{name}self_attn_layer_norm", wide) | affine(f"{name}final_layer_norm", wide)
            shapes |= affine(f"{name}fc1", (self.inner, *wide)) | affine(f"{name}fc2", (*wide, self.inner))
        return shapes

    def states(
        self, weights: Tensors, inputs: torch.Tensor, sizes: Sequence[int], numbers: Sequence[int]
    ) -> torch.Tensor:
        """The layers `numbers`, [B, T, L, D], of prepared log-Mel values.

        Args:
            weights: Parameters by name.
            inputs: Log-Mel values [B, 16 T, 128], zero-padded.
            sizes: Windows of each, a multiple of 16.
            numbers: 0 is the input of the first transformer layer, `depth` the model's output.
        """
        import torch
        import torch.nn.functional as F

        patches = F.conv2d(inputs[:, None], weights["patch_embedding.weight"], stride=PATCH)
        hidden = norm(weights, "layer_norm", patches.flatten(2).transpose(1, 2))
        if self.embedding != self.dimension:
            hidden = linear(weights, "post_extract_proj", hidden)
        counts = torch.tensor([size // PATCH * (BANDS // PATCH) for size in sizes], device=inputs.device)
        padding = torch.arange(hidden.shape[1], device=inputs.device) >= counts[:, None]
        hidden = hidden.masked_fill(padding[:, :, None], 0)
        hidden = norm(weights, "encoder.layer_norm", hidden + self._positions(weights, hidden))
        biases = self._biases(weights, hidden.shape[1])
        states = {0: hidden}
        for number in range(1, max(numbers) + 1):
            hidden = self._layer(weights, f"encoder.layers.{number - 1}.", hidden, biases, padding)
            if number in numbers:
                states[number] = hidden
        over_bands = (len(hidden), -1, BANDS // PATCH, self.dimension)
        return torch.stack([states[n].reshape(over_bands).mean(2) for n in numbers], dim=2)

    def _positions(self, weights: Tensors, hidden: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as F

        width, groups = self.positional
        kernel, bias = weights["encoder.pos_conv.0.weight"], weights["encoder.pos_conv.0.bias"]
        found = F.conv1d(hidden.transpose(1, 2), kernel, bias, padding=width // 2, groups=groups)
        return F.gelu(found[:, :, : hidden.shape[1]]).transpose(1, 2)

    def _biases(self, weights: Tensors, length: int) -> torch.Tensor:
        """The bias [H, 2 N - 1] of each distance, key minus query.

        Half of the buckets are for keys that come later; in each half, small distances have a bucket of their own and
        larger ones share buckets of logarithmic width. As in T5.
        """
        import torch

        table = weights["encoder.layers.0.self_attn.relative_attention_bias.weight"]
        half, own = self.buckets // 2, self.buckets // 4
        distance = torch.arange(1 - length, length, device=table.device)
        far = torch.log(distance.abs().clamp_min(1).float() / own) / math.log(MAX_DISTANCE / own)
        shared = (own + (far * (half - own)).long()).clamp_max(half - 1)
        bucket = torch.where(distance.abs() < own, distance.abs(), shared) + (distance > 0) * half
        return table[bucket].T

    def _layer(
        self, weights: Tensors, name: str, hidden: torch.Tensor, biases: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        import torch.nn.functional as F

        factor = (2 * self.depth) ** 0.25  # DeepNorm's alpha of an encoder
        query, key, value = (
            split_heads(linear(weights, f"{name}self_attn.{part}", hidden), self.heads)
            for part in ("q_proj", "k_proj", "v_proj")
        )
        gates = linear(weights, f"{name}self_attn.grep_linear", query)
        gates = gates.reshape(*gates.shape[:3], 2, 4).sum(4).sigmoid()
        first, second = gates.chunk(2, dim=3)
        gate = first * (second * weights[f"{name}self_attn.grep_a"] - 1) + 2
        attended = join_heads(attend(query, key, value, biases, padding, gate=gate))
        hidden = factor * hidden + linear(weights, f"{name}self_attn.out_proj", attended)
        hidden = norm(weights, f"{name}self_attn_layer_norm", hidden)
        inner = F.gelu(linear(weights, f"{name}fc1", hidden))
        return norm(weights, f"{name}final_layer_norm", factor * hidden + linear(weights, f"{name}fc2", inner))

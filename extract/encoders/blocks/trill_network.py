"""The network that `emofuse pretrain trill` fits: MobileNet-v1's shape, smaller, with group norm instead of batch norm.

A convolution, then eight pairs of a depthwise and a pointwise one, each with group norm and ReLU, over log-Mel patches
[96, 64] (0.96 s, one every 0.48 s); a layer's frame is the mean over its map of time x frequency, and the last layer's
is the embedding. Group norm keeps no running statistics: a patch's frame follows from that patch alone.

Papers: Howard et al. 2017, https://arxiv.org/abs/1704.04861; Wu and He 2018, https://arxiv.org/abs/1803.08494
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from emofuse.extract.encoders.blocks.audioset import FrontEnd
from emofuse.extract.encoders.blocks.patch_encoder import PatchOutputs

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1)
DIMENSIONS = (512, 2048)
"""What the last layer may be wide."""
FRONT_END = FrontEnd(offset=0.001, hop=48, fill_last=True)
_HIDDEN = (32, 64, 128, 128, 256, 256, 512, 512)
LAYERS = len(STRIDES)
LAST = f"layer{LAYERS}/pointwise/kernel"
"""Whose first axis is the dimension."""
_CHANNELS_OF_A_GROUP = 16


def widths(dimension: int) -> tuple[int, ...]:
    """Channels of every layer."""
    return (*_HIDDEN, dimension)


def outputs(dimension: int) -> PatchOutputs:
    """What `--layers` can ask for."""
    return PatchOutputs(widths=widths(dimension), names={"last": LAYERS, "embedding": LAYERS}, layers=LAYERS)


def _convolutions(dimension: int) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Every convolution in its order: its name, its kernel's shape [out, in of a group, height, width]."""
    channels = widths(dimension)
    yield "layer1/conv", (channels[0], 1, 3, 3)
    for layer, (before, width) in enumerate(pairwise(channels), 2):
        yield f"layer{layer}/depthwise", (before, 1, 3, 3)
        yield f"layer{layer}/pointwise", (width, before, 1, 1)


def shapes(dimension: int) -> dict[str, tuple[int, ...]]:
    """Of every tensor of the network, by name."""
    found: dict[str, tuple[int, ...]] = {}
    for name, kernel in _convolutions(dimension):
        found |= {f"{name}/kernel": kernel, f"{name}/scale": kernel[:1], f"{name}/shift": kernel[:1]}
    return found


def random_weights(dimension: int, seed: int) -> Tensors:
    """Where pre-training begins, float32: kernels by He et al. 2015, https://arxiv.org/abs/1502.01852."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes(dimension).items():
        if name.endswith("/kernel"):
            found[name] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        else:
            found[name] = torch.full(shape, float(name.endswith("/scale")))
    return found


def forward(weights: Tensors, patches: torch.Tensor, numbers: tuple[int, ...]) -> torch.Tensor:
    """The layers `numbers` [N, L, D], float32, of patches [N, 96, 64]; nothing beyond the highest is computed."""
    import torch
    import torch.nn.functional as F

    def convolve(hidden: torch.Tensor, name: str, stride: int, groups: int = 1) -> torch.Tensor:
        kernel, scale, shift = (weights[f"{name}/{part}"] for part in ("kernel", "scale", "shift"))
        hidden = F.conv2d(hidden, kernel, None, stride, kernel.shape[2] // 2, groups=groups)
        return F.relu(F.group_norm(hidden, len(kernel) // _CHANNELS_OF_A_GROUP, scale, shift))

    hidden = patches[:, None].to(weights["layer1/conv/kernel"].dtype)
    found = {}
    for layer, stride in enumerate(STRIDES[: max(numbers)], 1):
        if layer == 1:
            hidden = convolve(hidden, "layer1/conv", stride)
        else:
            hidden = convolve(hidden, f"layer{layer}/depthwise", stride, hidden.shape[1])
            hidden = convolve(hidden, f"layer{layer}/pointwise", 1)
        if layer in numbers:
            found[layer] = hidden.float().mean(dim=(2, 3))
    return torch.stack([found[n] for n in numbers], dim=1)

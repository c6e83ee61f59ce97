"""The network of `emofuse pretrain trill`: a small MobileNet-v1 with group norm instead of batch norm.

A convolution, then eight pairs of a depthwise and a pointwise convolution, each with group norm and ReLU, over log-Mel
patches [96, 64] (0.96 s, one every 0.48 s). The frame of a layer is the mean over its feature map of time x frequency;
the frame of the last layer is the embedding. Group norm keeps no running statistics, so each frame depends on its own
patch only.

Papers: Howard et al. 2017, https://arxiv.org/abs/1704.04861; Wu and He 2018, https://arxiv.org/abs/1803.08494
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from emofuse.extract.encoders.blocks.audioset_logmel import FrontEnd
from emofuse.extract.encoders.blocks.patch_outputs import PatchOutputs

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1)
DIMENSIONS = (512, 2048)
"""Valid values of D, the dimension of the last layer."""
FRONT_END = FrontEnd(offset=0.001, hop=48, fill_last=True)
_HIDDEN = (32, 64, 128, 128, 256, 256, 512, 512)
LAYERS = len(STRIDES)
LAST = f"layer{LAYERS}/pointwise/kernel"
"""The tensor whose first axis is D."""
_CHANNELS_PER_GROUP = 16


def widths(dimension: int) -> tuple[int, ...]:
    """Output channels of every layer of the network of that dimension."""
    return (*_HIDDEN, dimension)


def outputs(dimension: int) -> PatchOutputs:
    """The outputs that `--layers` can name."""
    return PatchOutputs(widths=widths(dimension), names={"last": LAYERS, "embedding": LAYERS}, layers=LAYERS)


def _convolutions(dimension: int) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Every convolution in order: its name and the shape of its kernel [out, in per group, height, width]."""
    channels = widths(dimension)
    yield "layer1/conv", (channels[0], 1, 3, 3)
    for layer, (inputs, width) in enumerate(pairwise(channels), 2):
        yield f"layer{layer}/depthwise", (inputs, 1, 3, 3)
        yield f"layer{layer}/pointwise", (width, inputs, 1, 1)


def shapes(dimension: int) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter, by name."""
    shapes_by_name: dict[str, tuple[int, ...]] = {}
    for name, kernel in _convolutions(dimension):
        shapes_by_name |= {f"{name}/kernel": kernel, f"{name}/scale": kernel[:1], f"{name}/shift": kernel[:1]}
    return shapes_by_name


def random_weights(dimension: int, seed: int) -> Tensors:
    """Initial parameters, float32; kernels as in He et al. 2015, https://arxiv.org/abs/1502.01852."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(dimension).items():
        if name.endswith("/kernel"):
            weights[name] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        else:
            weights[name] = torch.full(shape, float(name.endswith("/scale")))
    return weights


def forward(weights: Tensors, patches: torch.Tensor, numbers: tuple[int, ...]) -> torch.Tensor:
    """The layers `numbers`, float32 [N, L, D], of patches [N, 96, 64]; computes nothing beyond the highest number."""
    import torch
    import torch.nn.functional as F

    def convolve(hidden: torch.Tensor, name: str, stride: int, groups: int = 1) -> torch.Tensor:
        kernel, scale, shift = (weights[f"{name}/{key}"] for key in ("kernel", "scale", "shift"))
        hidden = F.conv2d(hidden, kernel, None, stride, kernel.shape[2] // 2, groups=groups)
        return F.relu(F.group_norm(hidden, len(kernel) // _CHANNELS_PER_GROUP, scale, shift))

    hidden = patches[:, None].to(weights["layer1/conv/kernel"].dtype)
    frames = {}
    for layer, stride in enumerate(STRIDES[: max(numbers)], 1):
        if layer == 1:
            hidden = convolve(hidden, "layer1/conv", stride)
        else:
            hidden = convolve(hidden, f"layer{layer}/depthwise", stride, hidden.shape[1])
            hidden = convolve(hidden, f"layer{layer}/pointwise", 1)
        if layer in numbers:
            frames[layer] = hidden.float().mean(dim=(2, 3))
    return torch.stack([frames[n] for n in numbers], dim=1)

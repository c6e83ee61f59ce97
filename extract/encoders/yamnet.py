"""YAMNet: sound embeddings of MobileNet-v1 over log-Mel patches of 0.96 s, one every 0.48 s.

A convolution, then 13 pairs of a depthwise and a pointwise convolution, each with batch norm and ReLU. The mean over
the last feature map is the embedding, and one dense layer with a sigmoid gives the scores of AudioSet's 521 classes.
The frame of a layer is the mean over its feature map of time x frequency. As published, a clip is zero-padded to a
whole number of patches: a clip shorter than 0.975 s gives one frame, any other 1 + ceil((samples - 15600) / 7680).

Paper: Howard et al. 2017, https://arxiv.org/abs/1704.04861
Code: https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderSpec
from emofuse.extract.encoders.blocks.audioset_logmel import FrontEnd
from emofuse.extract.encoders.blocks.patch_encoder import PatchNetwork, read_checkpoint
from emofuse.extract.encoders.blocks.patch_outputs import PatchOutputs
from emofuse.extract.encoders.weights.locate import WeightsSource
from emofuse.extract.encoders.weights.tensors import TensorFile

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
CLASSES = 521
_LAST, _SCORES = len(WIDTHS), len(WIDTHS) + 1
OUTPUTS = PatchOutputs(
    widths=(*WIDTHS, CLASSES), names={"last": _LAST, "embedding": _LAST, "scores": _SCORES}, layers=len(WIDTHS)
)
FRONT_END = FrontEnd(offset=0.001, hop=48, fill_last=True)
_NORM_EPSILON = 1e-4
_HINT = (
    "download https://storage.googleapis.com/audioset/yamnet.h5 (Keras, full precision), or a yamnet.tflite, and pass "
    "it as --weights yamnet.h5"
)


def _convolutions() -> Iterator[tuple[int, str, int, int]]:
    """Every convolution in order: layer, kind, input channels, output channels."""
    yield 1, "conv", 1, WIDTHS[0]
    for layer, (channels, width) in enumerate(pairwise(WIDTHS), 2):
        yield layer, "depthwise_conv", channels, channels
        yield layer, "pointwise_conv", channels, width


def forward(weights: Tensors, patches: torch.Tensor, numbers: tuple[int, ...]) -> torch.Tensor:
    """The outputs `numbers`, float32 [N, L, D], of patches [N, 96, 64]; computes nothing beyond the highest number."""
    import torch
    import torch.nn.functional as F

    def convolve(hidden: torch.Tensor, name: str, stride: int, groups: int = 1) -> torch.Tensor:
        kernel = weights[f"{name}/kernel"]
        if kernel.shape[2] == 3:
            # TensorFlow's padding "same" pads an even length only at its end where the stride is 2.
            hidden = F.pad(hidden, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        return F.relu(F.conv2d(hidden, kernel, weights[f"{name}/bias"], stride, groups=groups))

    hidden = patches[:, None].to(weights["layer1/conv/kernel"].dtype)
    outputs = {}
    for layer, stride in enumerate(STRIDES[: max(numbers)], 1):
        if layer == 1:
            hidden = convolve(hidden, "layer1/conv", stride)
        else:
            hidden = convolve(hidden, f"layer{layer}/depthwise_conv", stride, hidden.shape[1])
            hidden = convolve(hidden, f"layer{layer}/pointwise_conv", 1)
        if layer in (*numbers, _LAST):
            outputs[layer] = hidden.float().mean(dim=(2, 3))
    if _SCORES in numbers:
        embedding = outputs[_LAST].to(hidden.dtype)
        outputs[_SCORES] = F.linear(embedding, weights["dense/kernel"], weights["dense/bias"]).float().sigmoid()
    return torch.stack([outputs[n] for n in numbers], dim=1)


def read_weights(file: TensorFile) -> dict[str, Array]:
    """Kernels [out, in, height, width] and biases [out] of all layers, with batch norm folded into them.

    Raises:
        UsageError: A tensor is missing or has another shape: these are another network's weights.
        DataError: The values are damaged.
    """
    if file.kind == "tflite":
        return _from_tflite(file)
    if file.kind == "hdf5":
        return _from_keras(file)
    if file.kind == "safetensors":
        return read_checkpoint(file, shapes())
    raise UsageError(f"{file.path}: encoder yamnet reads .h5 and .tflite, not {file.kind}{file.guess()}; {_HINT}")


def shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every parameter, by the names that `read_weights` returns."""
    shapes: dict[str, tuple[int, ...]] = {"dense/kernel": (CLASSES, WIDTHS[-1]), "dense/bias": (CLASSES,)}
    for layer, kind, channels, width in _convolutions():
        side, depth = 1 if kind == "pointwise_conv" else 3, 1 if kind == "depthwise_conv" else channels
        shapes[f"layer{layer}/{kind}/kernel"] = (width, depth, side, side)
        shapes[f"layer{layer}/{kind}/bias"] = (width,)
    return shapes


def _from_keras(file: TensorFile) -> dict[str, Array]:
    weights = {}
    for layer, kind, channels, width in _convolutions():
        name = f"layer{layer}/{kind}"
        if kind == "depthwise_conv":
            kernel = file.take(f"{name}/depthwise_kernel", (3, 3, channels, 1)).transpose(2, 3, 0, 1)
        else:
            side = 3 if kind == "conv" else 1
            kernel = file.take(f"{name}/kernel", (side, side, channels, width)).transpose(3, 2, 0, 1)
        norm = {key: file.take(f"{name}/bn/{key}", (width,)) for key in ("beta", "moving_mean", "moving_variance")}
        scale = 1 / np.sqrt(norm["moving_variance"].astype(np.float64) + _NORM_EPSILON)  # this norm has no gamma
        weights[f"{name}/kernel"] = (kernel * scale[:, None, None, None]).astype(np.float32)
        weights[f"{name}/bias"] = (norm["beta"] - norm["moving_mean"] * scale).astype(np.float32)
    # Keras numbers unnamed dense layers within a session; the first release named this one logits.
    dense = next((m[1] for t in file.tensors if (m := re.search(r"(dense\w*|logits)/kernel(?::0)?$", t))), "dense")
    weights["dense/kernel"] = file.take(f"{dense}/kernel", (WIDTHS[-1], CLASSES)).T
    weights["dense/bias"] = file.take(f"{dense}/bias", (CLASSES,))
    return weights


def _from_tflite(file: TensorFile) -> dict[str, Array]:
    weights = {}
    for order, (layer, kind, channels, width) in enumerate(_convolutions()):
        own_name = f"layer{layer}/{kind}"
        if kind == "depthwise_conv":
            name = f"{order}/depthwise_conv"
            kernel = file.take(f"{name}/kernel", (1, 3, 3, channels), own_name).transpose(3, 0, 1, 2)
        else:
            name, side = f"{order}/conv", 3 if kind == "conv" else 1
            kernel = file.take(f"{name}/kernel", (width, side, side, channels), own_name).transpose(0, 3, 1, 2)
        weights[f"{own_name}/kernel"] = kernel
        weights[f"{own_name}/bias"] = file.take(f"{name}/bias", (width,), own_name)
    weights["dense/kernel"] = file.take("0/dense/kernel", (CLASSES, WIDTHS[-1]), "dense")
    weights["dense/bias"] = file.take("0/dense/bias", (CLASSES,), "dense")
    return weights


NETWORK = PatchNetwork(
    encoder="yamnet",
    front_end=FRONT_END,
    outputs=OUTPUTS,
    forward=forward,
    suffixes=(".h5", ".hdf5", ".tflite", ".safetensors"),
    read_weights=read_weights,
    hint=_HINT,
    pretrained_on="AudioSet: 2 million clips of YouTube with 521 labels of sounds, laughter and crying among them",
)

_PUBLISHED = WeightsSource(
    repository=None,
    pretrained_on=NETWORK.pretrained_on,
    page="https://storage.googleapis.com/audioset/yamnet.h5",
    file="yamnet.h5",
    licence="Apache-2.0",
    megabytes=15,
)

ENCODERS.add(
    "yamnet",
    "YAMNet, one frame per 0.48 s; needs --weights yamnet.h5 or yamnet.tflite",
    EncoderSpec(
        modality="audio", feature="yamnet", pretrained=True, tunable=True, build=NETWORK.build, source=_PUBLISHED
    ),
)

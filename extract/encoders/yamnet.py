"""YAMNet: sounds' embeddings from MobileNet-v1 over log-Mel patches of 0.96 s, one every 0.48 s.

A convolution, then 13 pairs of a depthwise and a pointwise one, each with batch norm and ReLU; the mean over the last
map is the embedding, and one dense layer with a sigmoid gives the scores of AudioSet's 521 classes. A layer's frame is
the mean over its map of time x frequency. As published, zeros fill a clip up to a whole number of patches: a clip
shorter than 0.975 s gives one frame, any other 1 + ceil((samples - 15600) / 7680). Trained on AudioSet.

Paper: Howard et al. 2017, https://arxiv.org/abs/1704.04861
Code: https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, EncoderOptions, EncoderSpec
from emofuse.extract.encoders.blocks.audioset import FrontEnd
from emofuse.extract.encoders.blocks.patch_encoder import PatchEncoder, PatchOutputs, own_tensors, place
from emofuse.extract.encoders.blocks.pretrained import check_options
from emofuse.extract.encoders.weights.locate import Weights
from emofuse.extract.encoders.weights.tensors import TensorFile, find_file, read_tensors

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
_ADVICE = (
    "download https://storage.googleapis.com/audioset/yamnet.h5 (Keras, full precision), or a yamnet.tflite, and pass "
    "it as --weights yamnet.h5"
)


def _convolutions() -> Iterator[tuple[int, str, int, int]]:
    """Every convolution in its order: layer, kind, channels in and out."""
    yield 1, "conv", 1, WIDTHS[0]
    for layer, (before, width) in enumerate(pairwise(WIDTHS), 2):
        yield layer, "depthwise_conv", before, before
        yield layer, "pointwise_conv", before, width


def forward(weights: Tensors, patches: torch.Tensor, numbers: tuple[int, ...]) -> torch.Tensor:
    """The outputs `numbers` [N, L, D], float32, of patches [N, 96, 64]; nothing beyond the highest is computed."""
    import torch
    import torch.nn.functional as F

    def convolve(hidden: torch.Tensor, name: str, stride: int, groups: int = 1) -> torch.Tensor:
        kernel = weights[f"{name}/kernel"]
        if kernel.shape[2] == 3:
            # TensorFlow's padding "same" puts a stride of 2 over an even length at the far side alone.
            hidden = F.pad(hidden, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        return F.relu(F.conv2d(hidden, kernel, weights[f"{name}/bias"], stride, groups=groups))

    hidden = patches[:, None].to(weights["layer1/conv/kernel"].dtype)
    found = {}
    for layer, stride in enumerate(STRIDES[: max(numbers)], 1):
        if layer == 1:
            hidden = convolve(hidden, "layer1/conv", stride)
        else:
            hidden = convolve(hidden, f"layer{layer}/depthwise_conv", stride, hidden.shape[1])
            hidden = convolve(hidden, f"layer{layer}/pointwise_conv", 1)
        if layer in (*numbers, _LAST):
            found[layer] = hidden.float().mean(dim=(2, 3))
    if _SCORES in numbers:
        embedding = found[_LAST].to(hidden.dtype)
        found[_SCORES] = F.linear(embedding, weights["dense/kernel"], weights["dense/bias"]).float().sigmoid()
    return torch.stack([found[n] for n in numbers], dim=1)


def read_weights(file: TensorFile) -> dict[str, NDArray[np.float32]]:
    """Kernels [out, in, height, width] and biases of the network in a published file, batch norm folded into them.

    Raises:
        UsageError: A tensor is missing or of another shape: another network's weights.
        DataError: Damaged values.
    """
    if file.kind == "tflite":
        return _from_tflite(file)
    if file.kind == "hdf5":
        return _from_keras(file)
    if file.kind == "safetensors":
        return own_tensors(file, _shapes())
    raise UsageError(f"{file.path}: encoder yamnet reads .h5 and .tflite, not {file.kind}{file.looks()}; {_ADVICE}")


def _shapes() -> dict[str, tuple[int, ...]]:
    """Of every tensor of the network, as `read_weights` gives them."""
    shapes: dict[str, tuple[int, ...]] = {"dense/kernel": (CLASSES, WIDTHS[-1]), "dense/bias": (CLASSES,)}
    for layer, kind, before, width in _convolutions():
        side, depth = 1 if kind == "pointwise_conv" else 3, 1 if kind == "depthwise_conv" else before
        shapes[f"layer{layer}/{kind}/kernel"] = (width, depth, side, side)
        shapes[f"layer{layer}/{kind}/bias"] = (width,)
    return shapes


def _from_keras(file: TensorFile) -> dict[str, NDArray[np.float32]]:
    found = {}
    for layer, kind, before, width in _convolutions():
        name = f"layer{layer}/{kind}"
        if kind == "depthwise_conv":
            kernel = file.take(f"{name}/depthwise_kernel", (3, 3, before, 1)).transpose(2, 3, 0, 1)
        else:
            side = 3 if kind == "conv" else 1
            kernel = file.take(f"{name}/kernel", (side, side, before, width)).transpose(3, 2, 0, 1)
        norm = {part: file.take(f"{name}/bn/{part}", (width,)) for part in ("beta", "moving_mean", "moving_variance")}
        scale = 1 / np.sqrt(norm["moving_variance"].astype(np.float64) + _NORM_EPSILON)  # it has no gamma
        found[f"{name}/kernel"] = (kernel * scale[:, None, None, None]).astype(np.float32)
        found[f"{name}/bias"] = (norm["beta"] - norm["moving_mean"] * scale).astype(np.float32)
    # Keras numbers its unnamed dense layers within a session; the first release called this one logits.
    dense = next((m[1] for t in file.tensors if (m := re.search(r"(dense\w*|logits)/kernel(?::0)?$", t))), "dense")
    found["dense/kernel"] = file.take(f"{dense}/kernel", (WIDTHS[-1], CLASSES)).T
    found["dense/bias"] = file.take(f"{dense}/bias", (CLASSES,))
    return found


def _from_tflite(file: TensorFile) -> dict[str, NDArray[np.float32]]:
    found = {}
    for order, (layer, kind, before, width) in enumerate(_convolutions()):
        ours = f"layer{layer}/{kind}"
        if kind == "depthwise_conv":
            name = f"{order}/depthwise_conv"
            kernel = file.take(f"{name}/kernel", (1, 3, 3, before), ours).transpose(3, 0, 1, 2)
        else:
            name, side = f"{order}/conv", 3 if kind == "conv" else 1
            kernel = file.take(f"{name}/kernel", (width, side, side, before), ours).transpose(0, 3, 1, 2)
        found[f"{ours}/kernel"] = kernel
        found[f"{ours}/bias"] = file.take(f"{name}/bias", (width,), ours)
    found["dense/kernel"] = file.take("0/dense/kernel", (CLASSES, WIDTHS[-1]), "dense")
    found["dense/bias"] = file.take("0/dense/bias", (CLASSES,), "dense")
    return found


def _build(options: EncoderOptions) -> PatchEncoder:
    check_options(options)
    chosen = OUTPUTS.choose(options.layers)
    path = find_file("yamnet", options.weights, (".h5", ".hdf5", ".tflite", ".safetensors"), _ADVICE)
    weights = place(read_weights(read_tensors(path, "yamnet", _ADVICE)), options)
    held = Weights(folder=path.parent, files=(path,))
    return PatchEncoder(
        encoder="yamnet",
        front_end=FRONT_END,
        outputs=OUTPUTS,
        chosen=chosen,
        network=forward,
        parameters=weights,
        weights=held,
        digest=held.digest(),
        pretrained_on="AudioSet: 2 million clips of YouTube with 521 labels of sounds, laughter and crying among them",
        options=options,
    )


ENCODERS.add(
    "yamnet",
    "YAMNet, a frame per 0.48 s; needs --weights yamnet.h5 or yamnet.tflite",
    EncoderSpec(modality="audio", feature="yamnet", pretrained=True, tunable=True, build=_build),
)

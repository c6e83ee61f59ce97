"""VGGish: sound embeddings of a VGG network over non-overlapping log-Mel patches of 0.96 s.

Six convolutions with ReLU and four poolings (layers 1 to 6: the mean over the feature map before its pooling), two
dense layers with ReLU (`fc1` and `fc2`, 4096-dimensional; TensorFlow's fc1/fc1_1 and fc1/fc1_2) and the embedding
(128-dimensional, without ReLU, as published; torchvggish adds one). `pca` whitens the embedding; `quantised` then maps
-2..2 to 0..255 and truncates, as published, where torchvggish rounds. A clip shorter than 0.975 s is zero-padded to
that length (the published code returns nothing for it); at the end of a longer clip, samples that do not fill a patch
are dropped, as published.

Paper: Hershey et al. 2017, https://arxiv.org/abs/1609.09430
Code: https://github.com/tensorflow/models/tree/master/research/audioset/vggish
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec
from emofuse.extract.encoders.blocks.audioset_logmel import FrontEnd
from emofuse.extract.encoders.blocks.patch_encoder import PatchEncoder, PatchNetwork, place
from emofuse.extract.encoders.blocks.patch_outputs import PatchOutputs
from emofuse.extract.encoders.weights.locate import WeightsSource
from emofuse.extract.encoders.weights.tensors import TensorFile, read_tensors

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

CONVOLUTIONS = (64, 128, 256, 256, 512, 512)
POOLED = (1, 2, 4, 6)
"""Layers that are followed by a 2 x 2 pooling."""
DENSE = (4096, 4096, 128)
FLAT = 6 * 4 * 512
_EMBEDDING, _PCA, _QUANTISED = 9, 10, 11
OUTPUTS = PatchOutputs(
    widths=(*CONVOLUTIONS, *DENSE, 128, 128),
    names={"last": 9, "fc1": 7, "fc2": 8, "embedding": _EMBEDDING, "pca": _PCA, "quantised": _QUANTISED},
    layers=9,
)
FRONT_END = FrontEnd(offset=0.01, hop=96, fill_last=False)
_RANGE = 2.0
"""`quantised` maps -2..2 to 0..255."""
# Names of the layers in torchvggish's state dict, and below `vggish/` in TensorFlow's checkpoint.
_TORCH = (*(f"features.{n}" for n in (0, 3, 6, 8, 11, 13)), *(f"embeddings.{n}" for n in (0, 2, 4)))
_SLIM = (
    "conv1", "conv2", "conv3/conv3_1", "conv3/conv3_2", "conv4/conv4_1", "conv4/conv4_2", "fc1/fc1_1", "fc1/fc1_2",
    "fc2",
)  # fmt: skip
_HINT = (
    "download vggish-10086976.pth from https://github.com/harritaylor/torchvggish/releases (or convert TensorFlow's "
    "vggish_model.ckpt to .npz, see `emofuse help encoders`) and pass it as --weights vggish-10086976.pth"
)
_PCA_HINT = "download https://storage.googleapis.com/audioset/vggish_pca_params.npz and put it beside the weights"


def forward(weights: Tensors, patches: torch.Tensor, numbers: tuple[int, ...]) -> torch.Tensor:
    """The outputs `numbers`, float32 [N, L, D], of patches [N, 96, 64]; computes nothing beyond the highest number."""
    import torch
    import torch.nn.functional as F

    hidden = patches[:, None].to(weights["1/kernel"].dtype)
    outputs = {}
    for layer in range(1, min(max(numbers), _EMBEDDING) + 1):
        kernel, bias = weights[f"{layer}/kernel"], weights[f"{layer}/bias"]
        if layer <= len(CONVOLUTIONS):
            hidden = F.relu(F.conv2d(hidden, kernel, bias, padding=1))
            if layer in numbers:
                outputs[layer] = hidden.float().mean(dim=(2, 3))
            hidden = F.max_pool2d(hidden, 2) if layer in POOLED else hidden
        else:
            # TensorFlow flattens time x frequency x channels; torch would flatten channels first.
            flat = hidden.permute(0, 2, 3, 1).flatten(1) if hidden.ndim == 4 else hidden
            hidden = F.linear(flat, kernel, bias)
            hidden = hidden if layer == _EMBEDDING else F.relu(hidden)
            outputs[layer] = hidden.float()
    if max(numbers) > _EMBEDDING:
        outputs[_PCA] = (outputs[_EMBEDDING] - weights["pca/means"]) @ weights["pca/vectors"].T
        outputs[_QUANTISED] = ((outputs[_PCA].clamp(-_RANGE, _RANGE) + _RANGE) * (255 / (2 * _RANGE))).floor()
    return torch.stack([outputs[n] for n in numbers], dim=1)


def read_weights(file: TensorFile) -> dict[str, Array]:
    """Kernels [out, in, height, width] or [out, in] and biases [out] of all layers, from any of the known layouts.

    Raises:
        UsageError: A tensor is missing or has another shape: these are another network's weights.
        DataError: The values are damaged.
    """
    tensorflow, own = file.find("conv1/weights") is not None, file.find("1/kernel") is not None
    weights: dict[str, Array] = {}
    channels = 1
    for layer, width in enumerate((*CONVOLUTIONS, *DENSE), 1):
        convolution = layer <= len(CONVOLUTIONS)
        if layer == len(CONVOLUTIONS) + 1:
            channels = FLAT
        if tensorflow:
            name = f"vggish/{_SLIM[layer - 1]}"
            kernel = file.take(f"{name}/weights", (3, 3, channels, width) if convolution else (channels, width))
            weights[f"{layer}/kernel"] = kernel.transpose(3, 2, 0, 1) if convolution else kernel.T
            weights[f"{layer}/bias"] = file.take(f"{name}/biases", (width,))
        else:
            shape = (width, channels, 3, 3) if convolution else (width, channels)
            torch_names = (f"{_TORCH[layer - 1]}.weight", f"{_TORCH[layer - 1]}.bias")
            names = (f"{layer}/kernel", f"{layer}/bias") if own else torch_names
            weights[f"{layer}/kernel"] = file.take(names[0], shape, _SLIM[layer - 1])
            weights[f"{layer}/bias"] = file.take(names[1], (width,), _SLIM[layer - 1])
        channels = width
    return weights


def read_pca(file: TensorFile) -> dict[str, Array]:
    """The parameters that whiten the embedding: vectors [128, 128], one component per row, and means [128].

    Raises:
        UsageError: A tensor is missing or has another shape.
        DataError: The values are damaged.
    """
    full = file.find("pca_means")
    shape = (128, 1) if full is not None and file.tensors[full].shape == (128, 1) else (128,)
    return {
        "pca/vectors": file.take("pca_eigen_vectors", (128, 128)),
        "pca/means": file.take("pca_means", shape).reshape(128),
    }


NETWORK = PatchNetwork(
    encoder="vggish",
    front_end=FRONT_END,
    outputs=OUTPUTS,
    forward=forward,
    suffixes=(".pth", ".pt", ".npz", ".safetensors"),
    read_weights=read_weights,
    hint=_HINT,
    pretrained_on="a preliminary YouTube-8M: millions of clips of YouTube with labels of their topics",
)


def _pca_file(network: Path) -> Path:
    """The PCA parameters beside the network's weights."""
    files = sorted(f for f in network.parent.iterdir() if "pca" in f.name.lower() and f != network and f.is_file())
    if len(files) != 1:
        names = ", ".join(f.name for f in files) or "none"
        raise UsageError(
            f"--layers pca and quantised need VGGish's PCA parameters, one file with pca in its name; "
            f"{network.parent} holds {names}; {_PCA_HINT}"
        )
    return files[0]


def _build(options: EncoderOptions) -> PatchEncoder:
    numbers, path = NETWORK.choose(options)
    if max(numbers) <= _EMBEDDING:
        return NETWORK.load(options, numbers, (path,))
    pca_file = _pca_file(path)
    encoder = NETWORK.load(options, numbers, (path, pca_file))
    pca = read_pca(read_tensors(pca_file, "vggish", _PCA_HINT))
    encoder.parameters.update(place(pca, replace(options, precision="fp32")))
    return encoder


_PUBLISHED = WeightsSource(
    repository=None,
    pretrained_on=NETWORK.pretrained_on,
    page="https://github.com/harritaylor/torchvggish/releases",
    file="vggish-10086976.pth",
    licence="Apache-2.0",
    megabytes=288,
)

ENCODERS.add(
    "vggish",
    "VGGish, one frame per 0.96 s; needs --weights vggish-10086976.pth",
    EncoderSpec(modality="audio", feature="vggish", pretrained=True, tunable=True, build=_build, source=_PUBLISHED),
)

"""VGGish: sounds' embeddings from a VGG network over log-Mel patches of 0.96 s that do not overlap.

Six convolutions with ReLU and four poolings (layers 1 to 6: the mean over the map before its pooling), two dense
layers with ReLU (`fc1`, `fc2`, 4096 wide; TensorFlow calls them fc1/fc1_1 and fc1/fc1_2) and the embedding (128 wide,
no ReLU, as published; torchvggish adds one). `pca` whitens the embedding, `quantised` then brings -2..2 to 0..255 and
cuts off the fraction, as published; torchvggish rounds. A clip shorter than 0.975 s, of which the published code makes
nothing, is filled up with zeros to that; of any other, what is too short for a patch is left out, as published.

Paper: Hershey et al. 2017, https://arxiv.org/abs/1609.09430
Code: https://github.com/tensorflow/models/tree/master/research/audioset/vggish
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, EncoderOptions, EncoderSpec
from emofuse.extract.encoders.blocks.audioset import FrontEnd
from emofuse.extract.encoders.blocks.patch_encoder import PatchEncoder, PatchOutputs, place
from emofuse.extract.encoders.blocks.pretrained import check_options
from emofuse.extract.encoders.weights.locate import Weights
from emofuse.extract.encoders.weights.tensors import TensorFile, find_file, read_tensors

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

CONVOLUTIONS = (64, 128, 256, 256, 512, 512)
POOLED = (1, 2, 4, 6)
"""Layers that a pooling of 2 x 2 follows."""
DENSE = (4096, 4096, 128)
_FLAT = 6 * 4 * 512
_EMBEDDING, _PCA, _QUANTISED = 9, 10, 11
OUTPUTS = PatchOutputs(
    widths=(*CONVOLUTIONS, *DENSE, 128, 128),
    names={"last": 9, "fc1": 7, "fc2": 8, "embedding": _EMBEDDING, "pca": _PCA, "quantised": _QUANTISED},
    layers=9,
)
FRONT_END = FrontEnd(offset=0.01, hop=96, fill_last=False)
_RANGE = 2.0
# Names by layer: in torchvggish's state dict, and in TensorFlow's checkpoint below `vggish/`.
_TORCH = (*(f"features.{n}" for n in (0, 3, 6, 8, 11, 13)), *(f"embeddings.{n}" for n in (0, 2, 4)))
_SLIM = (
    "conv1", "conv2", "conv3/conv3_1", "conv3/conv3_2", "conv4/conv4_1", "conv4/conv4_2", "fc1/fc1_1", "fc1/fc1_2",
    "fc2",
)  # fmt: skip
_ADVICE = (
    "download vggish-10086976.pth from https://github.com/harritaylor/torchvggish/releases (or convert TensorFlow's "
    "vggish_model.ckpt to .npz, see docs/encoders.md) and pass it as --weights vggish-10086976.pth"
)
_PCA_ADVICE = "download https://storage.googleapis.com/audioset/vggish_pca_params.npz and put it beside the weights"


def forward(weights: Tensors, patches: torch.Tensor, numbers: tuple[int, ...]) -> torch.Tensor:
    """The outputs `numbers` [N, L, D], float32, of patches [N, 96, 64]; nothing beyond the highest is computed."""
    import torch
    import torch.nn.functional as F

    hidden = patches[:, None].to(weights["1/kernel"].dtype)
    found = {}
    for layer in range(1, min(max(numbers), _EMBEDDING) + 1):
        kernel, bias = weights[f"{layer}/kernel"], weights[f"{layer}/bias"]
        if layer <= len(CONVOLUTIONS):
            hidden = F.relu(F.conv2d(hidden, kernel, bias, padding=1))
            if layer in numbers:
                found[layer] = hidden.float().mean(dim=(2, 3))
            hidden = F.max_pool2d(hidden, 2) if layer in POOLED else hidden
        else:
            # TensorFlow flattens time x frequency x channels, torch would flatten channels first.
            flat = hidden.permute(0, 2, 3, 1).flatten(1) if hidden.ndim == 4 else hidden
            hidden = F.linear(flat, kernel, bias)
            hidden = hidden if layer == _EMBEDDING else F.relu(hidden)
            found[layer] = hidden.float()
    if max(numbers) > _EMBEDDING:
        found[_PCA] = (found[_EMBEDDING] - weights["pca/means"]) @ weights["pca/vectors"].T
        found[_QUANTISED] = ((found[_PCA].clamp(-_RANGE, _RANGE) + _RANGE) * (255 / (2 * _RANGE))).floor()
    return torch.stack([found[n] for n in numbers], dim=1)


def read_weights(file: TensorFile) -> dict[str, NDArray[np.float32]]:
    """Kernels [out, in, height, width] or [out, in] and biases of the network, by layer, from a published file.

    Raises:
        UsageError: A tensor is missing or of another shape: another network's weights.
        DataError: Damaged values.
    """
    slim, ours = file.find("conv1/weights") is not None, file.find("1/kernel") is not None
    found, before = {}, 1
    for layer, width in enumerate((*CONVOLUTIONS, *DENSE), 1):
        convolution = layer <= len(CONVOLUTIONS)
        if layer == len(CONVOLUTIONS) + 1:
            before = _FLAT
        if slim:
            name = f"vggish/{_SLIM[layer - 1]}"
            kernel = file.take(f"{name}/weights", (3, 3, before, width) if convolution else (before, width))
            found[f"{layer}/kernel"] = kernel.transpose(3, 2, 0, 1) if convolution else kernel.T
            found[f"{layer}/bias"] = file.take(f"{name}/biases", (width,))
        else:
            shape = (width, before, 3, 3) if convolution else (width, before)
            names = (f"{layer}/kernel", f"{layer}/bias")
            held = names if ours else (f"{_TORCH[layer - 1]}.weight", f"{_TORCH[layer - 1]}.bias")
            found[names[0]] = file.take(held[0], shape, _SLIM[layer - 1])
            found[names[1]] = file.take(held[1], (width,), _SLIM[layer - 1])
        before = width
    return found


def read_pca(file: TensorFile) -> dict[str, NDArray[np.float32]]:
    """What whitens the embedding: vectors [128, 128], a component in each row, and means [128].

    Raises:
        UsageError: A tensor is missing or of another shape.
        DataError: Damaged values.
    """
    full = file.find("pca_means")
    shape = (128, 1) if full is not None and file.tensors[full].shape == (128, 1) else (128,)
    return {
        "pca/vectors": file.take("pca_eigen_vectors", (128, 128)),
        "pca/means": file.take("pca_means", shape).reshape(128),
    }


def _pca_file(network: Path) -> Path:
    held = sorted(f for f in network.parent.iterdir() if "pca" in f.name.lower() and f != network and f.is_file())
    if len(held) != 1:
        found = ", ".join(f.name for f in held) or "none"
        raise UsageError(
            f"--layers pca and quantised need VGGish's PCA parameters, one file with pca in its name; "
            f"{network.parent} holds {found}; {_PCA_ADVICE}"
        )
    return held[0]


def _build(options: EncoderOptions) -> PatchEncoder:
    check_options(options)
    chosen = OUTPUTS.choose(options.layers)
    path = find_file("vggish", options.weights, (".pth", ".pt", ".npz", ".safetensors"), _ADVICE)
    files = (path, _pca_file(path)) if max(chosen) > _EMBEDDING else (path,)
    weights = place(read_weights(read_tensors(path, "vggish", _ADVICE)), options)
    for extra in files[1:]:
        weights |= place(read_pca(read_tensors(extra, "vggish", _PCA_ADVICE)), replace(options, precision="fp32"))
    held = Weights(folder=path.parent, files=files)
    return PatchEncoder(
        encoder="vggish",
        front_end=FRONT_END,
        outputs=OUTPUTS,
        chosen=chosen,
        network=forward,
        parameters=weights,
        weights=held,
        digest=held.digest(),
        pretrained_on="a preliminary YouTube-8M: millions of clips of YouTube with labels of their topics",
        options=options,
    )


ENCODERS.add(
    "vggish",
    "VGGish, a frame per 0.96 s; needs --weights vggish-10086976.pth",
    EncoderSpec(modality="audio", feature="vggish", pretrained=True, tunable=True, build=_build),
)

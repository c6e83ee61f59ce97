"""BEATs: a transformer over log-Mel patches, pre-trained on AudioSet with acoustic tokens; frames of 160 ms.

Reads the published checkpoints (BEATs_iter1.pt to BEATs_iter3_plus_AS2M.pt, also those fine-tuned on AudioSet's
labels of sounds). The frame is the mean over the eight patches, one above the other, of 160 ms. As published, windows
at the end that do not fill a patch are dropped (at most 0.16 s); a clip shorter than 0.175 s is zero-padded to that.

Paper: Chen et al. 2023, https://arxiv.org/abs/2212.09058
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderSpec
from emofuse.extract.encoders.blocks.file_transformer import FileSource
from emofuse.extract.encoders.networks.beats_network import PATCH, SETTINGS, BeatsNetwork
from emofuse.extract.encoders.weights.locate import WeightsSource
from emofuse.extract.encoders.weights.tensors import TensorFile

_HINT = (
    "download BEATs_iter3_plus_AS2M.pt from https://github.com/microsoft/unilm/tree/master/beats and pass it as "
    "--weights BEATs_iter3_plus_AS2M.pt"
)
_POSITIONS = "encoder.pos_conv.0"
_NORMED = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))
"""Length and direction under weight norm: as published, and as newer versions of torch save them."""


def read(file: TensorFile) -> tuple[BeatsNetwork, dict[str, Array]]:
    """The network of the file's sizes, and its parameters by name.

    Raises:
        UsageError: A tensor is missing or has another shape, or the settings are those of another network.
        DataError: The values are damaged.
    """
    found = file.settings()
    different = [f"{k}={v}, found {found[k]}" for k, v in SETTINGS.items() if found.get(k, v) != v]
    if different:
        raise UsageError(f"{file.path}: encoder beats expects {'; '.join(different)}; {_HINT}")
    network = _sizes(file)
    weights = {}
    for name, shape in network.shapes().items():
        normed = _normed(file) if name == f"{_POSITIONS}.weight" else None
        weights[name] = file.take(name, shape) if normed is None else _kernel(file, *normed, shape)
    return network, weights


def _normed(file: TensorFile) -> tuple[str, str] | None:
    """The names of the length and the direction of the positional kernel; None where the file holds it as it is."""
    names = ((f"{_POSITIONS}.{length}", f"{_POSITIONS}.{direction}") for length, direction in _NORMED)
    return next((pair for pair in names if file.find(pair[1]) is not None), None)


def _kernel(file: TensorFile, length: str, direction: str, shape: tuple[int, ...]) -> Array:
    """A kernel [out, in, width] under weight norm: at each place of its width, a direction times a length."""
    pointing = file.take(direction, shape)
    norms = np.sqrt((pointing.astype(np.float64) ** 2).sum(axis=(0, 1), keepdims=True))
    return np.asarray(pointing * (file.take(length, (1, 1, shape[2])) / norms), dtype=np.float32)


def _sizes(file: TensorFile) -> BeatsNetwork:
    """The network that the shapes describe; the published one where they describe none, so that `take` reports it."""

    def shape(name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        full = file.find(name)
        found = default if full is None else file.tensors[full].shape
        return found if len(found) == len(default) else default

    usual = BeatsNetwork()
    layers = {m[1] for name in file.tensors if (m := re.search(r"encoder\.layers\.(\d+)\.fc1\.weight$", name))}
    inner, dimension = shape("encoder.layers.0.fc1.weight", (usual.inner, usual.dimension))
    kernel = (_normed(file) or ("", f"{_POSITIONS}.weight"))[1]
    _, per_group, width = shape(kernel, (0, usual.dimension // usual.positional[1], usual.positional[0]))
    buckets, heads = shape("encoder.layers.0.self_attn.relative_attention_bias.weight", (usual.buckets, usual.heads))
    return BeatsNetwork(
        dimension=dimension,
        embedding=shape("patch_embedding.weight", (usual.embedding, 1, PATCH, PATCH))[0],
        heads=heads,
        inner=inner,
        depth=len(layers) or usual.depth,
        positional=(width, max(1, dimension // max(1, per_group))),
        buckets=buckets,
    )


def _fitted_on(file: TensorFile) -> list[dict[str, Any]]:
    """No emotion labels: even the fine-tuned checkpoints saw AudioSet's labels of sounds alone."""
    return []


SOURCE = FileSource(
    encoder="beats",
    read=read,
    hint=_HINT,
    pretrained_on="AudioSet: 2 million clips of YouTube, without labels or fine-tuned on its 527 labels of sounds",
    fitted_on=_fitted_on,
)

_PUBLISHED = WeightsSource(
    repository=None,
    pretrained_on=SOURCE.pretrained_on,
    page="https://github.com/microsoft/unilm/tree/master/beats",
    file="BEATs_iter3_plus_AS2M.pt",
    licence="MIT",
    megabytes=361,
)

ENCODERS.add(
    "beats",
    "BEATs, one frame per 0.16 s; needs --weights BEATs_iter3_plus_AS2M.pt",
    EncoderSpec(
        modality="audio", feature="beats", pretrained=True, tunable=True, build=SOURCE.build, source=_PUBLISHED
    ),
)

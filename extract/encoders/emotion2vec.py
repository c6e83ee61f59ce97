"""emotion2vec: data2vec 2.0 pre-trained on emotional speech; frames of 20 ms.

Reads the checkpoints of fairseq (emotion2vec_base.pt) and of FunASR (model.pt of emotion2vec_base and emotion2vec+
seed, base and large), also those with a classification head; sizes follow from the shapes. The stored frame is that of
the published `extract_features`: the last layer without the learned tokens. Waveforms are normalised to zero mean and
unit variance, as all published checkpoints are configured.

emotion2vec+ and the fine-tuned checkpoints have seen emotion labels of many corpora: they have a classification head,
and `fit` refuses their features until `--fitted-on` declares which.

Paper: Ma et al. 2024, https://arxiv.org/abs/2312.15185
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from emofuse.extract.encoders.base import ENCODERS, Array, EncoderSpec
from emofuse.extract.encoders.blocks.file_transformer import FileSource
from emofuse.extract.encoders.networks.emotion2vec_network import AUDIO, Emotion2vecNetwork
from emofuse.extract.encoders.weights.file_formats import Tensor
from emofuse.extract.encoders.weights.locate import WeightsSource
from emofuse.extract.encoders.weights.tensors import TensorFile

_HINT = (
    "download the checkpoint (.pt) of emotion2vec from https://huggingface.co/emotion2vec, and pass it as "
    "--weights emotion2vec_base.pt"
)
_CORPORA = ("iemocap", "meld", "cmu-mosei", "mead", "msp-podcast")
"""What emotion2vec_base was pre-trained on, 262 h without labels (section 4.1 of the paper)."""

_HEADS = ("proj.weight", "w2v_encoder.proj.weight")
"""Classifiers of FunASR's and fairseq's checkpoints."""


def read(file: TensorFile) -> tuple[Emotion2vecNetwork, dict[str, Array]]:
    """The network of the file's sizes, and its parameters by name.

    Raises:
        UsageError: A tensor is missing or has another shape: these are another network's weights.
        DataError: The values are damaged.
    """
    # The layers of the model and of its audio encoder have names with one ending: names must match whole.
    model = replace(file, tensors=_inner_names(file.tensors), exact=True)
    network = _sizes(model)
    return network, {name: model.take(name, shape) for name, shape in network.shapes().items()}


def _inner_names(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors without what fine-tuning and FunASR put before the names; all where there is no such network."""
    full = next((name for name in tensors if name.endswith(f"{AUDIO}extra_tokens")), None)
    if full is None:
        return tensors
    prefix = full.removesuffix(f"{AUDIO}extra_tokens")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _sizes(file: TensorFile) -> Emotion2vecNetwork:
    """The network that the shapes describe; the base model where they describe none, so that `take` reports it."""
    if file.find(f"{AUDIO}extra_tokens") is None:
        return Emotion2vecNetwork()

    def shape(name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor of that many axes; zeros where it is missing."""
        tensor = file.tensors.get(name)
        return tensor.shape if tensor is not None and len(tensor.shape) == axes else (0,) * axes

    def count(pattern: str) -> int:
        return len({m[1] for name in file.tensors if (m := re.fullmatch(pattern, name))})

    _, tokens, dimension = shape(f"{AUDIO}extra_tokens", 3)
    scales = shape(f"{AUDIO}alibi_scale", 5)
    _, per_group, width = shape(f"{AUDIO}relative_positional_encoder.1.0.weight", 3)
    audio = re.escape(AUDIO)
    return Emotion2vecNetwork(
        dimension=dimension,
        channels=shape(f"{AUDIO}local_encoder.conv_layers.0.0.weight", 3)[0],
        heads=scales[2] if scales[2] > 1 else max(1, dimension // 64),
        inner=shape("blocks.0.mlp.fc1.weight", 2)[0],
        prenet=count(rf"{audio}context_encoder\.blocks\.(\d+)\.norm1\.weight"),
        main=count(r"blocks\.(\d+)\.norm1\.weight"),
        tokens=tokens,
        positional=(
            count(rf"{audio}relative_positional_encoder\.(\d+)\.0\.weight"),
            width,
            dimension // max(1, per_group),
        ),
        scales=(max(1, scales[0]), max(1, scales[2])),
    )


def _fitted_on(file: TensorFile) -> list[dict[str, Any]]:
    if any(name in file.tensors for name in _HEADS):
        about = "the checkpoint has a classification head: it was fitted on emotion labels, which it does not name"
        return [{"corpus": "unknown", "labels": True, "about": about}]
    return [{"corpus": corpus, "labels": False} for corpus in _CORPORA]


SOURCE = FileSource(
    encoder="emotion2vec",
    read=read,
    hint=_HINT,
    pretrained_on="LibriSpeech 960 h, then 262 h of IEMOCAP, MELD, CMU-MOSEI, MEAD and MSP-Podcast, audio alone",
    fitted_on=_fitted_on,
)

_PUBLISHED = WeightsSource(
    repository=None,
    pretrained_on=SOURCE.pretrained_on,
    page="https://huggingface.co/emotion2vec",
    file="emotion2vec_base.pt",
)

ENCODERS.add(
    "emotion2vec",
    "emotion2vec; needs --weights emotion2vec_base.pt",
    EncoderSpec(
        modality="audio", feature="emotion2vec", pretrained=True, tunable=True, build=SOURCE.build, source=_PUBLISHED
    ),
)

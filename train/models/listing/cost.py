"""The cost of a model: its parameters, and the operations of one utterance, counted without computing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from emofuse.train.models.base import Inputs, ModelSpec
from emofuse.train.models.config import Config, SequenceConfig
from emofuse.train.models.listing.model_list import SECONDS, WORDS

FEATURE_SIZES = {
    "logmel": (78, 20.0),
    "logmel-mcfn": (40, 100.0),
    "hubert": (768, 50.0),
    "wav2vec2": (768, 50.0),
    "trill": (2048, 5.99),
    "bert": (768, None),
    "roberta": (768, None),
    "mpnet": (768, None),
    "t5": (768, None),
}
"""Feature -> (dimension, frames per second, None for text). Distilled TRILL has a patch every 167 ms."""
UNKNOWN_SIZES = {"audio": (768, 50.0), "text": (768, None)}
"""Modality -> the same for a feature of another package: that of a base-sized encoder."""
LAYERS = 13
"""Layers of a base-sized encoder, its input embedding included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one model on its default features."""

    parameters: int
    flops: int
    """Operations of the matrix products, attentions and convolutions in one utterance's forward pass."""


def cost(spec: ModelSpec, config: Config, classes: int = 4, seconds: float = SECONDS, words: int = WORDS) -> Cost:
    """Count on PyTorch's meta device, which allocates and computes nothing.

    Args:
        spec: The architecture.
        config: Its hyper-parameters.
        classes: Number of classes.
        seconds: Length of the utterance's audio.
        words: Length of its text, in word pieces.
    """
    modalities = spec.modalities[:1] if spec.needs == "one" else spec.modalities
    statistics = 2 if spec.pool == "mean+deviation" else 1
    dimensions = {m: _feature_size(spec, m)[0] * statistics for m in modalities}
    layers = LAYERS if spec.layered else 0
    inputs = Inputs(audio=dimensions.get("audio"), text=dimensions.get("text"), layers=layers, classes=classes)
    with torch.device("meta"):
        model = spec.build(config, inputs).eval().requires_grad_(False)
    arguments: list[Tensor | None] = []
    for modality in ("audio", "text"):
        if modality in modalities:
            time = _time_steps(spec, config, modality, seconds, words)
            shape = (1, time, *((layers,) if layers else ()), dimensions[modality])
            arguments += [torch.empty(shape, device="meta"), torch.tensor([time], device="meta")]
        else:
            arguments += [None, None]
    with FlopCounterMode(display=False) as counter:
        model(*arguments)
    return Cost(parameters=sum(p.numel() for p in model.parameters()), flops=counter.get_total_flops())


def _feature_size(spec: ModelSpec, modality: str) -> tuple[int, float | None]:
    """(dimension, frames per second) of a modality's default feature."""
    return FEATURE_SIZES.get(spec.features[modality], UNKNOWN_SIZES[modality])


def _time_steps(spec: ModelSpec, config: Config, modality: str, seconds: float, words: int) -> int:
    """Frames or words of the utterance that the model reads."""
    if spec.pool != "frames":
        return 1
    _, rate = _feature_size(spec, modality)
    time = max(1, round(seconds * rate)) if rate else words
    if isinstance(config, SequenceConfig):
        time = min(time, config.max_frames if modality == "audio" else config.max_words)
    return time

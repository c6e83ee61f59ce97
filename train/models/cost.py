"""What a model costs: its parameters, and the floating-point operations of one utterance, counted without computing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from emofuse.train.models.base import Inputs, ModelSpec
from emofuse.train.models.config import Config, SequenceConfig

USUAL = {
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
"""Feature -> its width, and frames per second (distilled TRILL: a patch every 167 ms)."""
UNKNOWN = {"audio": (768, 50.0), "text": (768, None)}
"""The same for a feature that only another package knows: that of a base-sized encoder."""
LAYERS = 13
"""Of a base-sized encoder, its input included."""
SECONDS, WORDS = 4.55, 17
"""The mean of IEMOCAP's 5531 utterances, in seconds and in word pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One model on its own features."""

    parameters: int
    flops: int
    """Of the matrix products, attentions and convolutions of one utterance's forward pass."""


def cost(spec: ModelSpec, config: Config, classes: int = 4, seconds: float = SECONDS, words: int = WORDS) -> Cost:
    """Count on PyTorch's meta device, where nothing is stored nor computed."""
    reads = spec.modalities[:1] if spec.needs == "one" else spec.modalities
    double = 2 if spec.pool == "mean+deviation" else 1
    usual = {m: USUAL.get(spec.features[m], UNKNOWN[m]) for m in reads}
    width = {m: usual[m][0] * double for m in reads}
    layers = LAYERS if spec.layered else 0
    inputs = Inputs(audio=width.get("audio"), text=width.get("text"), layers=layers, classes=classes)
    with torch.device("meta"):
        model = spec.build(config, inputs).eval().requires_grad_(False)
    given: list[torch.Tensor | None] = []
    for modality in ("audio", "text"):
        if modality not in reads:
            given += [None, None]
            continue
        rate = usual[modality][1]
        time = 1 if spec.pool != "frames" else max(1, round(seconds * rate)) if rate else words
        if isinstance(config, SequenceConfig):
            time = min(time, config.max_frames if modality == "audio" else config.max_words)
        axes = (time, layers) if layers else (time,)
        given += [torch.empty(1, *axes, width[modality], device="meta"), torch.tensor([time], device="meta")]
    with FlopCounterMode(display=False) as counted:
        model(*given)
    return Cost(parameters=sum(p.numel() for p in model.parameters()), flops=counted.get_total_flops())

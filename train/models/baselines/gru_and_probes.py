"""Simple models that a fusion model is measured against: SMCN's baselines, and two probes of frozen features.

- `audio`, `text`: one bidirectional GRU, one attention, one cross-entropy (SMCN Table 3, rows Audio and Text).
- `concat`: both of them, [F^a, F^t] classified, Loss_p only (SMCN Table 3, row Cat).
- `linear`: mean and deviation over time of each dimension, standardised by training statistics, then one linear layer.
- `weighted-layers`: a learned softmax over an encoder's layers, mean over time, one linear layer (SUPERB, 2021).

Shapes: B batch, T time steps, L encoder layers, D feature dimension, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import AttentionPooling, BiGRU, by_modality, masked_mean, mlp
from emofuse.train.models.config import Config, SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentConfig(SequenceConfig):
    """SMCN's hyper-parameters."""

    hidden: int = setting(128)


class RecurrentClassifier(FusionModel):
    """BiGRU and attention for each modality in use, concatenated, then two linear layers (SMCN eq. 1-8)."""

    def __init__(self, config: RecurrentConfig, inputs: Inputs) -> None:
        super().__init__()
        dimensions = inputs.dimensions
        self.gru = nn.ModuleDict({m: BiGRU(d, config.hidden) for m, d in dimensions.items()})
        self.attention = nn.ModuleDict({m: AttentionPooling(2 * config.hidden) for m in dimensions})
        self.head = mlp(2 * config.hidden * len(dimensions), config.hidden, inputs.classes)

    def forward(
        self,
        audio: Tensor | None,
        audio_lengths: Tensor | None,
        text: Tensor | None,
        text_lengths: Tensor | None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Outputs:
        """Logits [B, C] of [F^a, F^t]."""
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        pooled = [self.attention[m](self.gru[m](x, lengths), lengths) for m, (x, lengths) in batch.items()]
        return Outputs(logits=self.head(torch.cat(pooled, dim=1)))


class LinearProbe(FusionModel):
    """Mean over time of each modality in use, concatenated, then one linear layer."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        super().__init__()
        self.linear = nn.Linear(sum(inputs.dimensions.values()), inputs.classes)

    def forward(
        self,
        audio: Tensor | None,
        audio_lengths: Tensor | None,
        text: Tensor | None,
        text_lengths: Tensor | None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Outputs:
        """Logits [B, C] of the means."""
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        pooled = [masked_mean(x, lengths) for x, lengths in batch.values()]
        return Outputs(logits=self.linear(torch.cat(pooled, dim=1)))


class WeightedLayers(FusionModel):
    """A sum over the layers of [B, T, L, D] weighted by softmax(w), mean over time, one linear layer."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(inputs.layers))
        (dimension,) = inputs.dimensions.values()
        self.linear = nn.Linear(dimension, inputs.classes)

    def forward(
        self,
        audio: Tensor | None,
        audio_lengths: Tensor | None,
        text: Tensor | None,
        text_lengths: Tensor | None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Outputs:
        """Logits [B, C] of the mean of the weighted sum."""
        ((x, lengths),) = by_modality(audio, audio_lengths, text, text_lengths).values()
        mixed = torch.einsum("bld,l->bd", masked_mean(x, lengths), torch.softmax(self.w, dim=0))
        return Outputs(logits=self.linear(mixed))


def recurrent_preset(corpus: str) -> RecurrentConfig:
    """As SMCN: 2500 steps and 150 words; 2000 and 100 on MELD."""
    return RecurrentConfig(steps=2000, max_words=100) if corpus == "meld" else RecurrentConfig()


def probe_preset(corpus: str) -> Config:
    """A convex problem: a higher learning rate, and a little weight decay, so that the optimum is unique."""
    return Config(steps=1000, lr=3e-3, batch=128, weight_decay=1e-4)


AUDIO = ModelSpec(
    modalities=("audio",), features={"audio": "logmel"}, preset=recurrent_preset, build=RecurrentClassifier
)
TEXT = ModelSpec(modalities=("text",), features={"text": "bert"}, preset=recurrent_preset, build=RecurrentClassifier)
CONCAT = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "logmel", "text": "bert"},
    preset=recurrent_preset,
    build=RecurrentClassifier,
)
LINEAR = ModelSpec(
    modalities=("audio", "text"),
    needs="any",
    features={"audio": "logmel", "text": "bert"},
    preset=probe_preset,
    build=LinearProbe,
    pool="mean+deviation",
)
WEIGHTED_LAYERS = ModelSpec(
    modalities=("audio", "text"),
    needs="one",
    features={"audio": "hubert", "text": "bert"},
    preset=probe_preset,
    build=WeightedLayers,
    pool="mean",
    layered=True,
)

"""What a fusion model is measured against: SMCN's own baselines, and the two usual probes of frozen features.

- `audio`, `text`: one bidirectional GRU, one attention, one cross-entropy (SMCN Table 3, rows Audio and Text).
- `concat`: both of them, [F^a, F^t] classified, Loss_p only (SMCN Table 3, row Cat).
- `linear`: each dimension's mean and deviation over time, standardised by training statistics, then one linear layer.
- `weighted-layers`: a learned softmax over an encoder's layers, mean over time, one linear layer (SUPERB, 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import AttentionPooling, BiGRU, head, masked_mean
from emofuse.train.models.config import Config, SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentConfig(SequenceConfig):
    """SMCN's hyper-parameters, for its baselines."""

    hidden: int = setting(128)


class Recurrent(FusionModel):
    """biGRU and attention for each modality that `inputs` names, concatenated, and a two-layer head (SMCN eq. 1-8)."""

    def __init__(self, config: RecurrentConfig, inputs: Inputs) -> None:
        super().__init__()
        dimensions = {m: d for m, d in (("audio", inputs.audio), ("text", inputs.text)) if d is not None}
        self.gru = nn.ModuleDict({m: BiGRU(d, config.hidden) for m, d in dimensions.items()})
        self.attention = nn.ModuleDict({m: AttentionPooling(2 * config.hidden) for m in dimensions})
        self.head = head(2 * config.hidden * len(dimensions), config.hidden, inputs.classes)

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
        """[F^a, F^t] -> logits."""
        given = {"audio": (audio, audio_lengths), "text": (text, text_lengths)}
        pooled = [self.attention[m](gru(*given[m]), given[m][1]) for m, gru in self.gru.items()]
        return Outputs(logits=self.head(torch.cat(pooled, dim=1)))


class Linear(FusionModel):
    """Mean over time of each modality that `inputs` names, concatenated, and one linear layer."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        super().__init__()
        self.linear = nn.Linear((inputs.audio or 0) + (inputs.text or 0), inputs.classes)

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
        """Means -> logits."""
        given = ((audio, audio_lengths), (text, text_lengths))
        pooled = [masked_mean(x, lengths) for x, lengths in given if x is not None and lengths is not None]
        return Outputs(logits=self.linear(torch.cat(pooled, dim=1)))


class WeightedLayers(FusionModel):
    """softmax(w) over the layers of [B, T, L, D], mean over time, one linear layer."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(inputs.layers))
        self.linear = nn.Linear(inputs.audio or inputs.text or 0, inputs.classes)

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
        """The weighted sum's mean -> logits."""
        x, lengths = (audio, audio_lengths) if audio is not None else (text, text_lengths)
        assert x is not None
        assert lengths is not None
        mixed = torch.einsum("bld,l->bd", masked_mean(x, lengths), torch.softmax(self.w, dim=0))
        return Outputs(logits=self.linear(mixed))


def recurrent_preset(corpus: str) -> RecurrentConfig:
    """As SMCN's: 2500 steps and 150 words; on MELD 2000 and 100."""
    return RecurrentConfig(steps=2000, max_words=100) if corpus == "meld" else RecurrentConfig()


def probe_preset(corpus: str) -> Config:
    """A convex problem: a larger step, and a little weight decay against what the classes leave open."""
    return Config(steps=1000, lr=3e-3, batch=128, weight_decay=1e-4)


AUDIO = ModelSpec(modalities=("audio",), features={"audio": "logmel"}, preset=recurrent_preset, build=Recurrent)
TEXT = ModelSpec(modalities=("text",), features={"text": "bert"}, preset=recurrent_preset, build=Recurrent)
CONCAT = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "logmel", "text": "bert"},
    preset=recurrent_preset,
    build=Recurrent,
)
LINEAR = ModelSpec(
    modalities=("audio", "text"),
    needs="any",
    features={"audio": "logmel", "text": "bert"},
    preset=probe_preset,
    build=Linear,
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

"""A fusion model: the mean over time of each modality, mixed by a learned gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import masked_mean
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedConfig(SequenceConfig):
    """Hyper-parameters beside those of every sequence model (lr, batch, steps, ...); each can be `--set`."""

    width: int = setting(64)


class Gated(FusionModel):
    """h = g * a + (1 - g) * t, where a and t are projected means over time and g = sigmoid(W (a - t))."""

    def __init__(self, config: GatedConfig, inputs: Inputs) -> None:
        super().__init__()
        self.audio, self.text = (nn.Linear(d or 0, config.width) for d in (inputs.audio, inputs.text))
        self.gate = nn.Linear(config.width, config.width)
        self.head = nn.Linear(config.width, inputs.classes)

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
        """[B, Ta, D] and [B, Tt, D] -> logits [B, C]."""
        a, t = _pooled(self.audio, audio, audio_lengths), _pooled(self.text, text, text_lengths)
        gate = self.gate(a - t).sigmoid()
        return Outputs(logits=self.head(gate * a + (1 - gate) * t))


def _pooled(layer: nn.Linear, x: Tensor | None, lengths: Tensor | None) -> Tensor:
    """[B, width]; the mean leaves out the padding, so results do not depend on it."""
    assert x is not None  # the spec says that both modalities are needed
    assert lengths is not None
    return nn.functional.linear(masked_mean(x, lengths), layer.weight, layer.bias)


GATED = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "logmel", "text": "hashed"},  # what is taken where the user names none
    preset=lambda corpus: GatedConfig(lr=1e-3, batch=32, steps=500),
    build=Gated,
)

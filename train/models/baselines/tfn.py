"""TFN: Tensor Fusion Network.

A. Zadeh, M. Chen, S. Poria, E. Cambria, L.-P. Morency, "Tensor fusion network for multimodal sentiment analysis", EMNLP
2017; here with two of its three modalities.

Shapes: B batch, C classes.

    4.1  z^a = three ReLU layers of the mean over time        [B, 32]
         z^l = two ReLU layers of an LSTM's final state       [B, 128]
    4.2  z = [z^a, 1] (x) [z^l, 1]                            [B, 33, 129], the outer product
    4.3  two ReLU layers of z, then the decision              [B, 128] -> [B, C]

The appended 1s keep each modality alone beside the products: the last row of z is z^l, its last column z^a.

Differences from the paper:
- The LSTM of 128 units is a bidirectional GRU of 64 units per direction, whose two final states are concatenated.
- Dropout 0.15 is on z^a and z^l. The L2 penalty of 0.01 is `weight_decay`, which is 0 by default.
- Not as in public code (Justin1904/TensorFusionNetworks): it applies batch norm and dropout to the audio mean, has one
  linear layer after the text LSTM, which runs forward only, and dropout on the outer product, and no ReLU between the
  layers that follow it, so that these are one linear map.
- Cross-entropy, Adam at 5e-4. Batch 32 and 2500 steps as in SMCN, since the paper prints no number of epochs.
- 1500 frames, 30 s at HuBERT's 50 Hz: a mean over time need not be cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    BiGRU,
    apply_dropout,
    by_modality,
    draw_dropout_mask,
    final_states,
    masked_mean,
)
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TFNConfig(SequenceConfig):
    """The paper's hyper-parameters."""

    units: int = setting(32)
    """Width of z^a."""
    hidden: int = setting(64)
    """GRU units in each direction; z^l is twice as wide."""
    width: int = setting(128)
    """Width of the two layers after the fusion."""
    dropout: float = setting(0.15, positive=False, most=0.9)


def relu_layers(dimension: int, width: int, depth: int) -> nn.Sequential:
    """`depth` linear layers, each with a ReLU: [B, dimension] -> [B, width]."""
    sizes = pairwise([dimension] + depth * [width])
    return nn.Sequential(*(part for i, o in sizes for part in (nn.Linear(i, o), nn.ReLU())))


class UtteranceEmbeddings(nn.Module):
    """Section 4.1: z^a [B, units] and z^l [B, 2 hidden], one vector per utterance and modality.

    Args:
        inputs: Must have both modalities.
        units: Width of z^a.
        hidden: GRU units per direction.
        audio_depth: ReLU layers after the mean over time.
        text_depth: ReLU layers after the final states of the GRU.
        dropout: Probability that a value of z^a or z^l is dropped in training.
    """

    def __init__(
        self, inputs: Inputs, units: int, hidden: int, audio_depth: int, text_depth: int, dropout: float
    ) -> None:
        super().__init__()
        dimensions = inputs.dimensions
        self.dropout, self.widths = dropout, {"audio": units, "text": 2 * hidden}
        self.audio = relu_layers(dimensions["audio"], units, audio_depth)
        self.gru = BiGRU(dimensions["text"], hidden)
        self.text = relu_layers(2 * hidden, 2 * hidden, text_depth)

    def forward(
        self,
        audio: Tensor | None,
        audio_lengths: Tensor | None,
        text: Tensor | None,
        text_lengths: Tensor | None,
        draws: Mapping[str, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """z^a and z^l; `draws` is the result of `draw`, None in evaluation."""
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        words, lengths = batch["text"]
        final = final_states(self.gru(words, lengths), lengths)
        z = {"audio": self.audio(masked_mean(*batch["audio"])), "text": self.text(final)}
        draws = draws or {}
        z = {m: apply_dropout(x, draws.get(m), 0, self.dropout) for m, x in z.items()}
        return z["audio"], z["text"]

    def draw(self, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Modality -> dropout mask of its vector, [1, B, width]."""
        return {m: draw_dropout_mask((1, batch, width), self.dropout, generator) for m, width in self.widths.items()}


def outer_product(audio: Tensor, text: Tensor) -> Tensor:
    """Section 4.2: [B, A] and [B, L] -> [B, A + 1, L + 1]."""
    return torch.einsum("ba,bl->bal", *(F.pad(z, (0, 1), value=1.0) for z in (audio, text)))


class TFN(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: TFNConfig, inputs: Inputs) -> None:
        super().__init__()
        self.embeddings = UtteranceEmbeddings(inputs, config.units, config.hidden, 3, 2, config.dropout)
        self.inference = relu_layers((config.units + 1) * (2 * config.hidden + 1), config.width, 2)
        self.classifier = nn.Linear(config.width, inputs.classes)

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
        """Sections 4.1 to 4.3; `aux` holds the last hidden layer as `fused`, [B, 128]."""
        z = outer_product(*self.embeddings(audio, audio_lengths, text, text_lengths, draws))
        fused = self.inference(z.flatten(1))
        return Outputs(logits=self.classifier(fused), aux={"fused": fused})

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of z^a and z^l."""
        return self.embeddings.draw(batch, generator)


def preset(corpus: str) -> TFNConfig:
    """The same for every corpus."""
    return TFNConfig(lr=5e-4, max_frames=1500)


SPEC = ModelSpec(modalities=("audio", "text"), features={"audio": "hubert", "text": "bert"}, preset=preset, build=TFN)

"""A-LSTM: learned alignment of speech and text ("A-LSTM" in SMCN's Table 1).

H. Xu, H. Zhang, K. Han, Y. Wang, Y. Peng, X. Li, "Learning alignment for multimodal emotion recognition from speech",
Interspeech 2019 (arXiv 1909.05645). The paper's equations were not available. This follows its abstract and the
authors' public code (didi/delta, now Delta-ML/delta: `AlignClassModel` with `multimodal-align-emotion.yml`), whose
README gives it the paper's accuracy of 72.5. Every word reads the frames that it attends to:

    s = BiGRU(relu(linear(x)))                                     [B, Ta, 200]
    t = BiGRU(e)                                                   [B, Tt, 200]
    a = attention of 8 heads from t to s                           [B, Tt, 200]
    g = BiGRU([a, t])                                              [B, Tt, 200]
    logits = linear(sum over words of softmax(tanh(W g + b) . u) g)  [B, C]

Shapes: B batch, Ta frames, Tt words, C classes.

Differences from the code, and choices:
- The code's cells are GRUs too (its configuration), of 100 units in each direction; the name says LSTM.
- Dropout 0.5 on the inputs of both GRUs, on what they give, on a, and on the pooled vector. The code drops the pooled
  vector twice in a row, and so keeps a quarter of it.
- The code reads padding of the speech, in its GRU and in the alignment.
- 40 log-Mel bands instead of a spectrogram of 257 bins, 7 s at most; BERT instead of trained GloVe vectors.
- Adam at 1e-3, batch 64, 150 epochs and gradients clipped at a norm of 3, as in the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    AttentionPooling,
    BiGRU,
    MultiHeadAttention,
    apply_dropout,
    by_modality,
    draw_dropout_mask,
    time_mask,
)
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ALSTMConfig(SequenceConfig):
    """The hyper-parameters of the authors' code."""

    width: int = setting(512)
    """Of the layer before the speech's GRU."""
    hidden: int = setting(100)
    """GRU units in each direction; the states are twice as wide."""
    heads: int = setting(8)
    dropout: float = setting(0.5, positive=False, most=0.9)

    def problems(self, ablation: str | None) -> list[str]:
        """Heads that do not divide the states."""
        if 2 * self.hidden % self.heads == 0:
            return []
        return [f"hidden={self.hidden}, heads={self.heads}: expected heads that divide 2 x hidden"]


class ALSTM(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: ALSTMConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.text_dimension, states = config, inputs.dimensions["text"], 2 * config.hidden
        self.speech = nn.Linear(inputs.dimensions["audio"], config.width)
        self.grus = nn.ModuleDict(
            {"audio": BiGRU(config.width, config.hidden), "text": BiGRU(self.text_dimension, config.hidden)}
        )
        self.alignment = MultiHeadAttention(states, config.heads)
        self.joint = BiGRU(2 * states, config.hidden)
        self.attention = nn.ModuleDict({"text": AttentionPooling(states)})
        self.classifier = nn.Linear(states, inputs.classes)

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
        """The equations above; `aux` holds the pooled vector as `fused`, [B, 200]."""
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        (frames, frame_lengths), (words, word_lengths) = batch["audio"], batch["text"]

        def dropped(x: Tensor, name: str) -> Tensor:
            return apply_dropout(x, draws.get(name), 0, self.config.dropout)

        s = self.grus["audio"](dropped(F.relu(self.speech(frames)), "speech"), frame_lengths)
        t = dropped(self.grus["text"](dropped(words, "words"), word_lengths), "t")
        mask = time_mask(frame_lengths, frames.shape[1], frames.device)
        a = dropped(self.alignment(t, dropped(s, "s"), mask), "a")
        g = self.joint(torch.cat([a, t], dim=2), word_lengths)
        fused = dropped(self.attention["text"](g, word_lengths), "pooled")
        return Outputs(logits=self.classifier(fused), aux={"fused": fused})

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks, each [1, ...] with the shape of what it drops."""
        states = 2 * self.config.hidden
        shapes: dict[str, tuple[int, ...]] = {
            "speech": (frames, self.config.width),
            "words": (words, self.text_dimension),
            "s": (frames, states),
            "t": (words, states),
            "a": (words, states),
            "pooled": (states,),
        }
        dropout = self.config.dropout
        return {name: draw_dropout_mask((1, batch, *shape), dropout, generator) for name, shape in shapes.items()}


def preset(corpus: str) -> ALSTMConfig:
    """The authors' configuration, for every corpus."""
    return ALSTMConfig(steps=0, epochs=150.0, lr=1e-3, batch=64, max_frames=700, max_words=100, clip=3.0)


SPEC = ModelSpec(
    modalities=("audio", "text"), features={"audio": "logmel-mcfn", "text": "bert"}, preset=preset, build=ALSTM
)

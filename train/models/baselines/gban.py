"""GBAN: Gated Bidirectional Alignment Network.

P. Liu, K. Li, H. Meng, "Group gated fusion on attention-based bidirectional alignment for multimodal emotion
recognition", Interspeech 2020.

Shapes: B batch, N frames, M words, K and L the same after pooling, d width of the states, C classes; o is the
element-wise product.

    (1-4)    s = BiLSTM(CNN(x))                                             [B, K, d]
    (5-8)    t = BiLSTM(CNN(e))                                             [B, L, d]
    (9, 10)  alpha_ji = softmax over i of tanh(s_i . t_j)                   [B, L, K]
    (11)     a^s = mean over j of sum_i alpha_ji s_i                        [B, d]
    (12-14)  a^t = mean over i of sum_j beta_ij t_j,  beta_ij = softmax over j of tanh(t_j . s_i)
    (15-17)  p^s = tanh(W a^s),  p^t = tanh(W a^t),  z_p = sigmoid(W [a^s, a^t])
    (18-20)  q^s, q^t and z_q likewise, from the last hidden states h^s and h^t
    (21)     h = z_p o p^s + (1 - z_p) o p^t + z_q o q^s + (1 - z_q) o q^t  [B, width]
    (22, 23) logits = W_e relu(W_g h) + b

As |tanh| < 1, no two weights of eq. 10 differ by more than a factor of e^2. Eq. 15 to 22 have no biases, as printed.

Open in the paper, and what is chosen; sizes are those of the authors' code (ppfliu/emotion-recognition):
- CNN of speech: four convolutions of kernel 4 with 12, 20, 28 and 36 channels, each with a ReLU and max-pooling by 2.
  CNN of text: convolutions of kernels 2, 3 and 4 side by side with 128 channels each, a ReLU and max-pooling by 2. Zero
  padding keeps the length, and the last pooling window may have one element, so that one frame or word is enough.
- 128 units in each direction, width 128. The bidirectional GRU that the models share replaces the LSTM. The last hidden
  state is the final one of each direction; the code takes both at the last time step.
- Dropout 0.5 on h and before the output.
- Adam at 1e-4 as printed. Batch 32 as in the code; 2500 steps as in SMCN, since no number is printed (the code: at most
  100 epochs, stopped on 5 % of the training utterances).

Differences from the paper and its code:
- 40 log-Mel bands instead of 26 with 13 MFCCs and deltas; BERT instead of trained GloVe vectors. 7.5 s at 100 frames/s.
- Eq. 9 as printed; the code has additive attention with a learned vector. The code reads padding.
- The printed L2 penalty of 0.01 is `weight_decay`, which is 0 by default. The code sets it after the layers are built,
  where Keras ignores it, and here it prevents learning: on the synthetic corpus (300 steps at 1e-3) validation UA stays
  at 0.35 with it, and test UA is 0.71 without.
- The code weights classes by their frequency: `fit --class-weights` offers it.
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
    TimeConvolution,
    apply_dropout,
    by_modality,
    draw_dropout_mask,
    final_states,
    masked_mean,
    time_mask,
)
from emofuse.train.models.config import SequenceConfig, setting

SPEECH_KERNEL = 4
TEXT_KERNELS = (2, 3, 4)
TEXT_CHANNELS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class GBANConfig(SequenceConfig):
    """The paper's hyper-parameters, and the sizes of the authors' code."""

    encoder_layers: int = setting(4)
    """Convolutions of the speech encoder; each halves the number of frames."""
    hidden: int = setting(128)
    """GRU units in each direction; the states are twice as wide."""
    width: int = setting(128)
    dropout: float = setting(0.5, positive=False, most=0.9)


def halved(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU, then the maximum of every two time steps: [B, T, D] -> [B, ceil(T / 2), D], and the lengths.

    Padding of `x` may hold anything; the result is zero on padding.
    """
    mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
    x = F.relu(x).masked_fill(~mask, 0).transpose(1, 2)
    return F.max_pool1d(x, 2, ceil_mode=True).transpose(1, 2), (lengths + 1) // 2


class SpeechConvolutions(nn.Module):
    """Eq. 1: [B, N, D] -> [B, K, channels]; each convolution halves the length."""

    def __init__(self, dimension: int, depth: int) -> None:
        super().__init__()
        sizes = [dimension, *(4 + 8 * i for i in range(1, depth + 1))]
        self.channels = sizes[-1]
        self.convolutions = nn.ModuleList(TimeConvolution(*size, SPEECH_KERNEL) for size in pairwise(sizes))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled vectors p and their lengths."""
        for convolution in self.convolutions:
            x, lengths = halved(convolution(x, lengths), lengths)
        return x, lengths


class TextConvolutions(nn.Module):
    """Eq. 5: [B, M, D] -> [B, L, channels], half as long."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.channels = TEXT_CHANNELS * len(TEXT_KERNELS)
        self.convolutions = nn.ModuleList(TimeConvolution(dimension, TEXT_CHANNELS, k) for k in TEXT_KERNELS)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled vectors q and their lengths."""
        return halved(torch.cat([convolution(x, lengths) for convolution in self.convolutions], dim=2), lengths)


class AlignedMean(nn.Module):
    """Eq. 9 to 11, or 12 to 14: what each step of the other modality reads, and its mean; without parameters."""

    def weights(self, x: Tensor, lengths: Tensor, other: Tensor) -> Tensor:
        """Attention weights [B, To, T] over `x`; zero on its padding, and each row sums to one."""
        mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(1)
        return torch.softmax(torch.tanh(other @ x.transpose(1, 2)).masked_fill(~mask, -torch.inf), dim=2)

    def forward(self, x: Tensor, lengths: Tensor, other: Tensor, other_lengths: Tensor) -> Tensor:
        """x [B, T, d], aligned with `other` [B, To, d]: [B, d]."""
        return masked_mean(self.weights(x, lengths, other) @ x, other_lengths)


class GatedGroup(nn.Module):
    """Eq. 15 to 17 with their half of eq. 21: one vector of each modality, mixed by a gate."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.audio, self.text = (nn.Linear(dimension, width, bias=False) for _ in range(2))
        self.gate = nn.Linear(2 * dimension, width, bias=False)

    def weights(self, audio: Tensor, text: Tensor) -> Tensor:
        """The gate z, the share of audio in each channel: [B, width]."""
        return torch.sigmoid(self.gate(torch.cat([audio, text], dim=1)))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Two vectors [B, d] -> [B, width]."""
        z = self.weights(audio, text)
        return z * torch.tanh(self.audio(audio)) + (1 - z) * torch.tanh(self.text(text))


class GBAN(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: GBANConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        self.speech = SpeechConvolutions(inputs.dimensions["audio"], config.encoder_layers)
        self.words = TextConvolutions(inputs.dimensions["text"])
        self.grus = nn.ModuleDict(
            {m: BiGRU(x.channels, config.hidden) for m, x in (("audio", self.speech), ("text", self.words))}
        )
        self.alignment = AlignedMean()
        self.aligned, self.last = (GatedGroup(2 * config.hidden, config.width) for _ in range(2))
        self.hidden_layer = nn.Linear(config.width, config.width, bias=False)
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
        """Eq. 1 to 23; `aux` holds relu(W_g h) as `fused`, [B, width]."""
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        p, p_lengths = self.speech(*batch["audio"])
        q, q_lengths = self.words(*batch["text"])
        s, t = self.grus["audio"](p, p_lengths), self.grus["text"](q, q_lengths)
        a_s = self.alignment(s, p_lengths, t, q_lengths)
        a_t = self.alignment(t, q_lengths, s, p_lengths)
        h = self.aligned(a_s, a_t) + self.last(final_states(s, p_lengths), final_states(t, q_lengths))
        h = apply_dropout(h, draws.get("dropout"), 0, self.config.dropout)
        fused = torch.relu(self.hidden_layer(h))
        logits = self.classifier(apply_dropout(fused, draws.get("dropout"), 1, self.config.dropout))
        return Outputs(logits=logits, aux={"fused": fused})

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of h and of the classifier's input, [2, B, width]."""
        return {"dropout": draw_dropout_mask((2, batch, self.config.width), self.config.dropout, generator)}


def preset(corpus: str) -> GBANConfig:
    """The paper's training without its L2 penalty, for every corpus."""
    return GBANConfig(max_frames=750)


SPEC = ModelSpec(
    modalities=("audio", "text"), features={"audio": "logmel-mcfn", "text": "bert"}, preset=preset, build=GBAN
)

"""CME: fine-grained Cross-Modality Excitement.

H. Li, W. Ding, Z. Wu, Z. Liu, "Learning fine-grained cross modality excitement for speech emotion recognition",
Interspeech 2021 (arXiv 2010.12733). The paper's equations were not available. This follows its abstract and the
authors' public code (tal-ai/FG_CME, the variant that its training script builds). Word by word:

    a_j = [mean, maximum] over the frames of word j, after three convolutions     [B, Tt, 256]
    s_j = linear(text_j)                                                          [B, Tt, 256]
    s'_j = s_j + s_j o sigmoid(W_s a_j + b_s)     excitement of text by audio
    a'_j = a_j + a_j o sigmoid(W_a s_j + b_a)     excitement of audio by text
    logits = linear(maximum over words of biLSTM([s', a']))                       [B, 512] -> [B, C]

Shapes: B batch, Ta frames, Tt words, D and E widths, C classes; o is the element-wise product.

Differences from the code, and choices:
- Temporal alignment pooling takes each word's frames from a forced alignment, which a store does not hold. Here frames
  are assigned to words evenly and in order: a frame belongs to the word that its middle falls into. A word without
  frames (more words than frames) takes the frame at its own middle. An utterance cut at `max_frames` or `max_words` is
  treated as if both modalities ended together.
- The code gates audio by a table with a row for each word of a vocabulary; here it is a linear layer of s.
- Convolutions of 64, 128 and 128 channels and kernels 5, 2, 2, with a ReLU between them (the code has none, so its
  three are one linear map). Zero padding keeps the length; the code shortens it by 6 frames.
- The shared bidirectional GRU replaces the LSTM, with the code's 256 units. No dropout (the code's has no effect).
- Adam at 5e-4, batch 32, 20 epochs and 3000 frames of 40 log-Mel bands every 10 ms, as in the code. BERT instead of
  GloVe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import BiGRU, TimeConvolution, by_modality, masked_max
from emofuse.train.models.config import SequenceConfig, setting

CHANNELS = (64, 128)
KERNELS = (5, 2, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CMEConfig(SequenceConfig):
    """The hyper-parameters of the authors' code."""

    width: int = setting(256)
    """Width of a word's text vector s_j."""
    units: int = setting(128)
    """Channels of the last convolution; a word's audio vector a_j is twice as wide."""
    hidden: int = setting(256)


def word_frames(frames: Tensor, lengths: Tensor, words: int, word_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum over the frames of each word, both [B, words, D]; padding of the results is meaningless.

    Frame t of n belongs to word floor((t + 1/2) m / n) of m; the frame at the middle of a word always belongs to it.

    Args:
        frames: [B, Ta, D].
        lengths: Frames before padding [B].
        words: Words including padding, Tt.
        word_lengths: Words before padding [B].
    """
    n, m = (x.to(frames.device).unsqueeze(1) for x in (lengths, word_lengths))
    t, j = (torch.arange(size, device=frames.device) for size in (frames.shape[1], words))
    word = (2 * t + 1) * m // (2 * n)
    middle = torch.minimum((2 * j + 1) * n // (2 * m), n - 1)
    own = (word.unsqueeze(1) == j.unsqueeze(1)) | (middle.unsqueeze(2) == t)
    mean = own.to(frames) @ frames / own.sum(2, keepdim=True)
    at_middle = frames.gather(1, middle.unsqueeze(2).expand(-1, -1, frames.shape[2]))
    true = frames.masked_fill(t.unsqueeze(1) >= n.unsqueeze(2), -torch.inf)
    target = word.clamp(max=words - 1).unsqueeze(2).expand_as(frames)
    return mean, at_middle.scatter_reduce(1, target, true, "amax")


class Excitement(nn.Module):
    """x + x o sigmoid(W y + b) for x [B, Tt, D] and the other modality y [B, Tt, E]."""

    def __init__(self, dimension: int, other: int) -> None:
        super().__init__()
        self.linear = nn.Linear(other, dimension)

    def gate(self, other: Tensor) -> Tensor:
        """sigmoid(W y + b), [B, Tt, D]."""
        return torch.sigmoid(self.linear(other))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """[B, Tt, D] -> [B, Tt, D]."""
        return x + x * self.gate(other)


class CME(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: CMEConfig, inputs: Inputs) -> None:
        super().__init__()
        sizes = (inputs.dimensions["audio"], *CHANNELS, config.units)
        self.convolutions = nn.ModuleList(
            TimeConvolution(*size, kernel) for size, kernel in zip(pairwise(sizes), KERNELS, strict=True)
        )
        self.resize = nn.Linear(inputs.dimensions["text"], config.width)
        self.excite_text = Excitement(config.width, 2 * config.units)
        self.excite_audio = Excitement(2 * config.units, config.width)
        self.gru = BiGRU(config.width + 2 * config.units, config.hidden)
        self.classifier = nn.Linear(2 * config.hidden, inputs.classes)

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
        """The equations above; `aux` holds the maximum over words as `fused`, [B, 512]."""
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        (frames, lengths), (words, word_lengths) = batch["audio"], batch["text"]
        frames = self.convolutions[0](frames, lengths)
        for convolution in self.convolutions[1:]:
            frames = convolution(F.relu(frames), lengths)
        a = torch.cat(word_frames(frames, lengths, words.shape[1], word_lengths), dim=2)
        s = self.resize(words)
        states = self.gru(torch.cat([self.excite_text(s, a), self.excite_audio(a, s)], dim=2), word_lengths)
        fused = masked_max(states, word_lengths)
        return Outputs(logits=self.classifier(fused), aux={"fused": fused})


def preset(corpus: str) -> CMEConfig:
    """The authors' training script."""
    return CMEConfig(steps=0, epochs=20.0, lr=5e-4, max_frames=3000)


SPEC = ModelSpec(
    modalities=("audio", "text"), features={"audio": "logmel-mcfn", "text": "bert"}, preset=preset, build=CME
)

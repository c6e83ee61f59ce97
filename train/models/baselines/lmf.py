"""LMF: Low-rank Multimodal Fusion.

Z. Liu, Y. Shen, V. B. Lakshminarasimhan, P. P. Liang, A. Zadeh, L.-P. Morency, "Efficient low-rank multimodal fusion
with modality-specific factors", ACL 2018; here with two of its three modalities.

Shapes: B batch, d_a, d_l and d_h widths of audio, language and the fused vector, r rank, C classes.

    (1)    Z = z_a (x) z_l, each with an appended 1                       [B, d_a, d_l], never computed
    (4)    W = sum_i w_a^(i) (x) w_l^(i), i = 1..r                        [d_a, d_l, d_h], never computed
    (5, 8) h = W . Z = sum_i (w_a^(i) . z_a) o (w_l^(i) . z_l)            [B, d_h], o the element-wise product

Eq. 6 and 7 end with the sum over i inside the product, which is another function than eq. 5. Eq. 8 is built, which
the authors say they use. Their code weights the r terms by learned fusion weights. So does this file; the weights start
at 1, which is eq. 8. The bias of eq. 2 is left out, as in eq. 5 to 8: the product of the two 1s acts as one.

Open in the paper, and what is chosen:
- h is "one compact multimodal representation", so a linear layer classifies it (in the code d_h = C).
- z_a is two ReLU layers of the mean over time. z_l is the final state of an LSTM (section 4.3), here the bidirectional
  GRU of TFN. Their dimensions are 32 and 64, and r = 4 (section 5.3).
- Dropout 0.15 and Adam at 5e-4 are from the middle of the code's random search.
- Not as in the code (Justin1904/Low-rank-Multimodal-Fusion): it applies batch norm and dropout to the audio mean, has
  three ReLU layers there, and dropout and one linear layer after the text LSTM, which runs forward only. It draws each
  modality's factors from one Xavier normal distribution over all r of them (here: each of the r by itself), and the
  fusion weights too (here: 1). It adds a bias to h, and h are the outputs (d_h = C). It searches all sizes at random.
- Cross-entropy; batch 32 and 2500 steps as in SMCN; 1500 frames as in TFN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.baselines.tfn import UtteranceEmbeddings
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class LMFConfig(SequenceConfig):
    """The paper's hyper-parameters, and the choices where it is open."""

    units: int = setting(32)
    """Width of z_a."""
    hidden: int = setting(32)
    """GRU units in each direction; z_l is twice as wide."""
    rank: int = setting(4)
    width: int = setting(64)
    """Width d_h of the fused representation."""
    dropout: float = setting(0.15, positive=False, most=0.9)


class LowRankFusion(nn.Module):
    """Eq. 8: one vector [B, d] per modality -> [B, width]."""

    def __init__(self, dimensions: tuple[int, ...], width: int, rank: int) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(torch.empty(rank, d + 1, width)) for d in dimensions)
        self.weights = nn.Parameter(torch.ones(rank))
        for factor in self.factors:
            for rank_one in factor:
                nn.init.xavier_normal_(rank_one)

    def forward(self, *vectors: Tensor) -> Tensor:
        """The vectors [B, d] of all modalities -> h [B, width]."""
        extended = (F.pad(z, (0, 1), value=1.0) for z in vectors)
        terms = [torch.einsum("bd,rdh->brh", z, w) for z, w in zip(extended, self.factors, strict=True)]
        return torch.einsum("r,brh->bh", self.weights, torch.stack(terms).prod(0))


class LMF(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: LMFConfig, inputs: Inputs) -> None:
        super().__init__()
        self.embeddings = UtteranceEmbeddings(inputs, config.units, config.hidden, 2, 0, config.dropout)
        self.fusion = LowRankFusion((config.units, 2 * config.hidden), config.width, config.rank)
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
        """Eq. 8, then the classifier; `aux` holds h as `fused`, [B, d_h]."""
        fused = self.fusion(*self.embeddings(audio, audio_lengths, text, text_lengths, draws))
        return Outputs(logits=self.classifier(fused), aux={"fused": fused})

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of z_a and z_l."""
        return self.embeddings.draw(batch, generator)


def preset(corpus: str) -> LMFConfig:
    """The same for every corpus."""
    return LMFConfig(lr=5e-4, max_frames=1500)


SPEC = ModelSpec(modalities=("audio", "text"), features={"audio": "hubert", "text": "bert"}, preset=preset, build=LMF)

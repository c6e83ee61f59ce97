"""MulT: Multimodal Transformer for unaligned sequences.

Y.-H. H. Tsai, S. Bai, P. P. Liang, J. Z. Kolter, L.-P. Morency, R. Salakhutdinov, "Multimodal transformer for unaligned
multimodal language sequences", ACL 2019; here with two of its three modalities (A audio, L text).

Shapes: B batch, T time steps, d width, C classes.

    (1)  CM_{L->A}(X_A, X_L) = softmax(Q_A K_L^T / sqrt(d_k)) V_L, with several heads
    (2)  X^_A = Conv1D(X_A), likewise L                                     [B, T, d]
    (3)  Z_A^[0] = X^_A + positions
    (4)  Z_{L->A}^[0] = Z_A^[0]; for layers i = 1..D
             Z^ = CM(LN(Z_{L->A}^[i-1]), LN(Z_L^[0])) + Z_{L->A}^[i-1]
             Z_{L->A}^[i] = f(LN(Z^)) + Z^, f a feed-forward network
    Z_{A->L} likewise. Then a self-attention transformer on each (3.2), the last elements of both, concatenated, a
    residual block and a linear layer.

With two modalities each stream has one source, so nothing is concatenated before the self-attention. "Last element" is
the last one before padding. Details of the layers are as in the authors' code (yaohungt/Multimodal-Transformer):
residuals carry the sequence itself, queries and memory share a layer norm, every stack ends in a layer norm, and
self-attention layers are eq. 4's on one sequence.

The paper has no mask. The code's default is a causal one in every stack, also across modalities: query i reads the keys
j <= i + |Tq - Tk|. `causal` = true is that mask, with an utterance's own lengths; the code has those of the batch.

Differences and choices:
- Positions are added once; the code adds them before every stack, to sqrt(d) times the sequence.
- d = 30, 5 heads, feed-forward 4d, 5 layers in every stack, Adam at 1e-3, batch 24 and 40 epochs are the code's
  defaults. So is dropout 0.1 on the output of each sub-layer; its other dropouts, gradient clipping and learning rate
  decay are left out.
- The code skips the convolution where a feature has width d already, which is not done here.
- Kernel 3 (the code has 1, without bias), since the convolution is meant to combine neighbouring elements.
- 500 frames, 10 s at HuBERT's 50 Hz, since the cost of attention grows with their square.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import OTHER_MODALITY, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    MultiHeadAttention,
    TimeConvolution,
    apply_dropout,
    by_modality,
    draw_stack_masks,
    last_frame,
    mlp,
    time_masks,
    width_problems,
    with_positions,
)
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MulTConfig(SequenceConfig):
    """The defaults of the authors' code."""

    width: int = setting(30)
    kernel: int = setting(3)
    heads: int = setting(5)
    feedforward: int = setting(120)
    cross_layers: int = setting(5)
    self_layers: int = setting(5, positive=False)
    dropout: float = setting(0.1, positive=False, most=0.9)
    causal: bool = setting(False)
    """Whether a query reads only keys up to its own position, as in the authors' code."""

    def problems(self, ablation: str | None) -> list[str]:
        """A width that heads do not divide."""
        return SequenceConfig.problems(self, ablation) + width_problems(self.width, self.heads)


class CrossmodalLayer(nn.Module):
    """One layer of eq. 4: [B, T, d] -> [B, T, d]."""

    def __init__(self, config: MulTConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention = MultiHeadAttention(config.width, config.heads)
        self.feedforward = mlp(config.width, config.feedforward, config.width)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor, keep: Tensor | None) -> Tensor:
        """[B, T, d] -> [B, T, d].

        Args:
            x: The queries.
            memory: Keys and values [B, Tk, d]; None means `x`.
            mask: [B, Tk] or [B, T, Tk], true on the keys that may be read.
            keep: Dropout masks of both sub-layers [2, B, T, d]; None in evaluation.
        """
        query = self.norms[0](x)
        source = query if memory is None else self.norms[0](memory)
        x = x + apply_dropout(self.attention(query, source, mask), keep, 0, self.dropout)
        return x + apply_dropout(self.feedforward(self.norms[1](x)), keep, 1, self.dropout)


class CrossmodalTransformer(nn.Module):
    """`depth` layers of eq. 4, all with the same memory or each with its own input as memory, then layer norm."""

    def __init__(self, config: MulTConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossmodalLayer(config) for _ in range(depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor, keep: Tensor | None = None) -> Tensor:
        """As `CrossmodalLayer`, with dropout masks `keep` [depth, 2, B, T, d]."""
        for i, layer in enumerate(self.layers):
            x = layer(x, memory, mask, None if keep is None else keep[i])
        normalised: Tensor = self.norm(x)
        return normalised


def causal_mask(queries: Tensor, keys: Tensor) -> Tensor:
    """Which key j a query i may read, [B, Tq, Tk]: j <= i + |Tq - Tk|, with an utterance's own lengths.

    Args:
        queries: Time mask of the queries [B, Tq].
        keys: Time mask of the keys [B, Tk].
    """
    i, j = (torch.arange(mask.shape[1], device=mask.device) for mask in (queries, keys))
    offset = (queries.sum(1) - keys.sum(1)).abs().reshape(-1, 1, 1)
    return (j <= i.unsqueeze(1) + offset) & keys.unsqueeze(1)


class MulT(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: MulTConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        dimensions, width = inputs.dimensions, config.width
        self.convolution = nn.ModuleDict({m: TimeConvolution(d, width, config.kernel) for m, d in dimensions.items()})
        self.cross = nn.ModuleDict({m: CrossmodalTransformer(config, config.cross_layers) for m in dimensions})
        self.own = nn.ModuleDict({m: CrossmodalTransformer(config, config.self_layers) for m in dimensions})
        self.residual = mlp(2 * width, 2 * width, 2 * width)
        self.classifier = nn.Linear(2 * width, inputs.classes)

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
        """Eq. 1-4 and 3.2.

        `aux` holds the last elements of both streams as `audio` and `text`, [B, d], and the output of the residual
        block as `fused`, [B, 2d].
        """
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        masks = time_masks(batch)
        z_0 = {m: with_positions(self.convolution[m](x, lengths)) for m, (x, lengths) in batch.items()}
        aux: dict[str, Tensor] = {}
        for m, other in OTHER_MODALITY.items():
            across, within = (self._readable(masks[m], masks[keys]) for keys in (other, m))
            z = self.cross[m](z_0[m], z_0[other], across, draws.get(f"cross_{m}"))
            aux[m] = last_frame(self.own[m](z, None, within, draws.get(f"own_{m}")), batch[m][1])
        last = torch.cat([aux["audio"], aux["text"]], dim=1)
        aux["fused"] = last + self.residual(last)
        return Outputs(logits=self.classifier(aux["fused"]), aux=aux)

    def _readable(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The keys that may be read, of the time masks [B, Tq] and [B, Tk]: [B, Tk], or [B, Tq, Tk] if causal."""
        return causal_mask(queries, keys) if self.config.causal else keys

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of each stack."""
        times, config = {"audio": frames, "text": words}, self.config
        layers = {"cross": config.cross_layers, "own": config.self_layers}
        depths = {f"{stack}_{m}": depth for stack, depth in layers.items() for m in times}
        return draw_stack_masks(depths, batch, times, config.width, config.dropout, generator)


def preset(corpus: str) -> MulTConfig:
    """The defaults of the authors' code, for every corpus."""
    return MulTConfig(steps=0, epochs=40.0, lr=1e-3, batch=24)


SPEC = ModelSpec(modalities=("audio", "text"), features={"audio": "hubert", "text": "bert"}, preset=preset, build=MulT)

"""MulT: Multimodal Transformer for unaligned sequences.

Y.-H. H. Tsai, S. Bai, P. P. Liang, J. Z. Kolter, L.-P. Morency, R. Salakhutdinov, "Multimodal transformer for unaligned
multimodal language sequences", ACL 2019; here with two of its three modalities (A audio, L text).

    (1)  CM_{L->A}(X_A, X_L) = softmax(Q_A K_L^T / sqrt(d_k)) V_L, in several heads
    (2)  X^_A = Conv1D(X_A), likewise L                                     [B, T, d]
    (3)  Z_A^[0] = X^_A + positions
    (4)  Z_{L->A}^[0] = Z_A^[0]; for layers i = 1..D
             Z^ = CM(LN(Z_{L->A}^[i-1]), LN(Z_L^[0])) + Z_{L->A}^[i-1]
             Z_{L->A}^[i] = f(LN(Z^)) + Z^, f a position-wise network
    Z_{A->L} likewise; a self-attention transformer on each (3.2); the last element of each, concatenated; a residual
    block and a linear layer

With two modalities each stream has one source, so nothing is concatenated before the self-attention. "Last element" is
the last true frame. What the layers leave open is as in the authors' code (yaohungt/Multimodal-Transformer): residuals
carry the sequence itself, queries and memory share a layer norm, every stack ends in one, and self-attention layers are
eq. 4's on one sequence. Positions are added once; the code adds them before every stack, to sqrt(d) times the sequence.

Left open or simplified: d = 30, 5 heads, feed-forward 4d, 5 layers in every stack, Adam at 1e-3, batch 24 and 40 epochs
are the code's defaults. Its dropout of 0.1 on what a sub-layer adds is kept; its other dropouts, gradient clipping and
falling learning rate are not. Kernel 3 (the code has 1), since the convolution is there for neighbouring elements. 500
frames, 10 s at HuBERT's 50 Hz, since attention grows with their square.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import OTHER, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    MultiHeadAttention,
    TimeConvolution,
    draw_keep,
    dropped,
    head,
    indivisible,
    last_frame,
    sinusoids,
    time_mask,
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

    def problems(self, ablation: str | None) -> list[str]:
        """A width that heads do not divide."""
        return SequenceConfig.problems(self, ablation) + indivisible(self.width, self.heads)


class CrossmodalLayer(nn.Module):
    """Eq. 4's layer: [B, T, d] -> [B, T, d]."""

    def __init__(self, config: MulTConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention = MultiHeadAttention(config.width, config.heads)
        self.feedforward = head(config.width, config.feedforward, config.width)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor, keep: Tensor | None) -> Tensor:
        """Let `x` attend to `memory` [B, Tk, d] (none: to itself) where `mask` [B, Tk] is true; `keep` [2, B, T, d]."""
        query = self.norms[0](x)
        source = query if memory is None else self.norms[0](memory)
        x = x + dropped(self.attention(query, source, mask), keep, 0, self.dropout)
        return x + dropped(self.feedforward(self.norms[1](x)), keep, 1, self.dropout)


class CrossmodalTransformer(nn.Module):
    """`depth` layers of eq. 4, which all attend to the same memory or each to its own input, and a layer norm."""

    def __init__(self, config: MulTConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossmodalLayer(config) for _ in range(depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor, keep: Tensor | None = None) -> Tensor:
        """As `CrossmodalLayer`; `keep` [depth, 2, B, T, d]."""
        for i, layer in enumerate(self.layers):
            x = layer(x, memory, mask, None if keep is None else keep[i])
        normalised: Tensor = self.norm(x)
        return normalised


class MulT(FusionModel):
    """The network; `inputs` must have both modalities."""

    def __init__(self, config: MulTConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        assert inputs.audio is not None
        assert inputs.text is not None
        dimensions, width = {"audio": inputs.audio, "text": inputs.text}, config.width
        self.convolution = nn.ModuleDict({m: TimeConvolution(d, width, config.kernel) for m, d in dimensions.items()})
        self.cross = nn.ModuleDict({m: CrossmodalTransformer(config, config.cross_layers) for m in dimensions})
        self.own = nn.ModuleDict({m: CrossmodalTransformer(config, config.self_layers) for m in dimensions})
        self.residual = head(2 * width, 2 * width, 2 * width)
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
        """`aux` holds both streams' last elements as `audio` and `text`, and the residual block's output as `fused`."""
        draws = draws or {}
        lengths: dict[str, Tensor] = {}
        low: dict[str, Tensor] = {}
        for m, x, length in (("audio", audio, audio_lengths), ("text", text, text_lengths)):
            assert length is not None
            x, lengths[m] = self.convolution[m](x, length), length
            low[m] = x + sinusoids(x.shape[1], x.shape[2], x.device)
        masks = {m: time_mask(lengths[m], x.shape[1], x.device) for m, x in low.items()}
        aux: dict[str, Tensor] = {}
        for m, other in OTHER.items():
            x = self.cross[m](low[m], low[other], masks[other], draws.get(f"cross_{m}"))
            aux[m] = last_frame(self.own[m](x, None, masks[m], draws.get(f"own_{m}")), lengths[m])
        last = torch.cat([aux["audio"], aux["text"]], dim=1)
        aux["fused"] = last + self.residual(last)
        return Outputs(logits=self.classifier(aux["fused"]), aux=aux)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """What dropout leaves in each stack."""
        times, config = {"audio": frames, "text": words}, self.config
        depths = {"cross": config.cross_layers, "own": config.self_layers}
        shapes = {f"{n}_{m}": (depth, 2, batch, times[m], config.width) for n, depth in depths.items() for m in times}
        return {name: draw_keep(shape, config.dropout, generator) for name, shape in shapes.items()}


def preset(corpus: str) -> MulTConfig:
    """The defaults of the authors' code, for every corpus."""
    return MulTConfig(steps=0, epochs=40.0, lr=1e-3, batch=24)


SPEC = ModelSpec(modalities=("audio", "text"), features={"audio": "hubert", "text": "bert"}, preset=preset, build=MulT)

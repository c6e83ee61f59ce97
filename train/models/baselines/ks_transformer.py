"""KS-Transformer: key-sparse attention and cascaded cross-attention.

W. Chen, X. Xing, X. Xu, J. Yang, J. Pang, "Key-sparse transformer for multimodal speech emotion recognition", ICASSP
2022 (arXiv 2106.11532). The numbers of its equations were not available, so they have names here.

Shapes: B batch, T time steps (Tq of the queries, Tk of the keys), h heads, d width, C classes; o is the element-wise
product.

    weights      W = softmax(Q K^T / sqrt(d_Q))                  [B, h, Tq, Tk]
    importance   s_z = sum over queries of column z of W         [B, h, Tk]
    mask         M_z = 1 where s_z >= the k-th largest s, else 0
    attention    (W o M) V: the weights that are kept are not renormalised

A KS-transformer is a transformer layer with that attention. In each modality (A audio, T text):

    extraction   5 vanilla transformer layers
    interaction  3 cascaded cross-attention blocks with one skip over all of them. A block is a KS-transformer from A
                 (queries) to T (keys), then one on its result; T to A likewise.
    fusion       2 KS-transformers
    decision     means over time, concatenated, classified

`share` = 0.5 (the paper's k) of an utterance's own keys are kept, at least one. The authors' code
(HappyColor/Key-Sparse-Transformer) takes a share of the padded length and counts padded queries in s, so that a result
depends on its batch. Equal importances at the threshold are all kept, as printed.

`variant` = `code` is the network of that code, where it differs from the paper:
- The extracted features are added twice after the cascade: within it, and again to its result.
- Every stack of layers (extraction, both halves of a block, fusion) begins with a layer norm, of the keys too.
Its other differences are settings or left out: 120 epochs (`--epochs 120`), batch 16 (`--set batch=16`), SGD from 5e-4
with momentum and cosine annealing, positions added to the inputs of every attention, no cut at fixed lengths, dropout
also on attention weights and inside the feed-forward network.

Differences from the paper:
- Both features are first resized to one width, 256; the paper keeps the features' own, 512 and 1024. The feed-forward
  network has half of it, as in the code.
- Sinusoidal positions are added once, not at every attention.
- The decision is two linear layers, not three.
- Dropout 0.1 is on the output of each sub-layer; the decision's 0.5 is left out.
- Adam at 1e-4 instead of SGD with learning rate decay. 8 heads, batch 32 and at most 460 frames and 20 words as
  printed; 2500 steps as in SMCN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor, nn

from emofuse.train.models.base import OTHER_MODALITY, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    MultiHeadAttention,
    TransformerEncoder,
    TransformerLayer,
    by_modality,
    draw_stack_masks,
    masked_mean,
    mlp,
    time_masks,
    width_problems,
    with_positions,
)
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class KSTransformerConfig(SequenceConfig):
    """The paper's hyper-parameters, with the differences above."""

    width: int = setting(256)
    heads: int = setting(8)
    feedforward: int = setting(128)
    encoder_layers: int = setting(5, positive=False)
    cross_layers: int = setting(3)
    """Number of cascaded cross-attention blocks."""
    fusion_layers: int = setting(2, positive=False)
    share: float = setting(0.5, most=1.0)
    """The share of keys that attention keeps."""
    dropout: float = setting(0.1, positive=False, most=0.9)
    variant: str = setting("paper", choices=("paper", "code"))
    """The network as the paper describes it, or as its authors' code builds it."""

    def problems(self, ablation: str | None) -> list[str]:
        """A width that heads do not divide."""
        return SequenceConfig.problems(self, ablation) + width_problems(self.width, self.heads)


def strongest_keys(importance: Tensor, keys: Tensor, share: float) -> Tensor:
    """True for the `share` of keys with the largest importance, at least one: [B, h, Tk].

    Args:
        importance: [B, h, Tk].
        keys: [B, Tk], true before padding.
        share: Share of an utterance's own keys that are kept.
    """
    count = (keys.sum(1) * share).long().clamp(min=1)
    ranked = importance.masked_fill(~keys.unsqueeze(1), -1).sort(dim=2, descending=True).values
    place = (count - 1).reshape(-1, 1, 1).expand(-1, importance.shape[1], 1)
    return (importance >= ranked.gather(2, place)) & keys.unsqueeze(1)


class KeySparseAttention(MultiHeadAttention):
    """Attention that keeps the most important keys of each head."""

    def __init__(self, dimension: int, heads: int, share: float) -> None:
        super().__init__(dimension, heads)
        self.share = share

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """The weights that are kept, [B, h, Tq, Tk], of the arguments of `forward`; rows sum to at most one."""
        q, k, _ = self.project(query, memory)
        return self._kept(q, k, mask)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Attend from [B, Tq, d] to [B, Tk, d], result [B, Tq, d].

        `mask` [B, Tq, Tk] is true where neither the query nor the key is padding.
        """
        q, k, v = self.project(query, memory)
        return self.join(self._kept(q, k, mask) @ v)

    def _kept(self, q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        # All pairs of a padded query are masked: a finite score keeps its softmax finite, and the mask makes it zero.
        pairs = mask.unsqueeze(1)
        weights = torch.softmax(scores.masked_fill(~pairs, torch.finfo(scores.dtype).min), dim=3).masked_fill(~pairs, 0)
        kept = strongest_keys(weights.sum(2), mask.any(1), self.share)
        return weights * kept.unsqueeze(2)


class KeySparseLayer(TransformerLayer):
    """A KS-transformer: a transformer layer with key-sparse attention, whose mask is [B, Tq, Tk]."""

    def __init__(self, config: KSTransformerConfig) -> None:
        super().__init__(config.width, config.heads, config.feedforward, config.dropout)
        self.attention = KeySparseAttention(config.width, config.heads, config.share)


def opening_norm(config: KSTransformerConfig) -> nn.Module:
    """What a stack of layers begins with: the layer norm of the authors' code, or nothing."""
    return nn.LayerNorm(config.width) if config.variant == "code" else nn.Identity()


class KeySparseStream(nn.Module):
    """Interaction and fusion of one modality: [B, T, d] -> [B, T, d]."""

    def __init__(self, config: KSTransformerConfig) -> None:
        super().__init__()
        self.skips = 2 if config.variant == "code" else 1
        self.cross = nn.ModuleList(KeySparseLayer(config) for _ in range(config.cross_layers))
        self.blend = nn.ModuleList(KeySparseLayer(config) for _ in range(config.cross_layers))
        self.fusion = nn.ModuleList(KeySparseLayer(config) for _ in range(config.fusion_layers))
        self.query_openings, self.key_openings, self.blend_openings = (
            nn.ModuleList(opening_norm(config) for _ in self.cross) for _ in range(3)
        )
        self.fusion_opening = opening_norm(config) if self.fusion else nn.Identity()

    def forward(self, own: Tensor, other: Tensor, mask: Tensor, other_mask: Tensor, keep: Tensor | None) -> Tensor:
        """[B, T, d] -> [B, T, d].

        Args:
            own: The modality's extracted features [B, T, d].
            other: Those of the other modality [B, To, d].
            mask: Time mask of `own` [B, T].
            other_mask: Time mask of `other` [B, To].
            keep: Dropout masks of all layers in order [layers, 2, B, T, d]; None in evaluation.
        """
        within, across = (mask.unsqueeze(2) & keys.unsqueeze(1) for keys in (mask, other_mask))
        keeps = repeat(None) if keep is None else iter(keep)
        x: Tensor = own
        openings = zip(self.query_openings, self.key_openings, self.blend_openings, strict=True)
        for cross, blend, (of_query, of_key, of_blend) in zip(self.cross, self.blend, openings, strict=True):
            x = cross(of_query(x), of_key(other), across, next(keeps))
            x = of_blend(x)
            x = blend(x, x, within, next(keeps))
        x = self.fusion_opening(x + self.skips * own)
        for layer in self.fusion:
            x = layer(x, x, within, next(keeps))
        return x


class KSTransformer(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: KSTransformerConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        dimensions, width = inputs.dimensions, config.width
        sizes = (width, config.heads, config.feedforward, config.encoder_layers, config.dropout)
        self.resize = nn.ModuleDict({m: nn.Linear(d, width) for m, d in dimensions.items()})
        self.opening = nn.ModuleDict({m: opening_norm(config) for m in dimensions})
        self.encoder = nn.ModuleDict({m: TransformerEncoder(*sizes) for m in dimensions})
        self.stream = nn.ModuleDict({m: KeySparseStream(config) for m in dimensions})
        self.classifier = mlp(2 * width, width, inputs.classes)

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
        """The four stages above; `aux` holds the concatenated means as `fused`, [B, 2d]."""
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        masks = time_masks(batch)
        features = {
            m: self.encoder[m](with_positions(self.opening[m](self.resize[m](x))), lengths, draws.get(f"encoder_{m}"))
            for m, (x, lengths) in batch.items()
        }
        means = []
        for m, other in OTHER_MODALITY.items():
            x = self.stream[m](features[m], features[other], masks[m], masks[other], draws.get(f"stream_{m}"))
            means.append(masked_mean(x, batch[m][1]))
        fused = torch.cat(means, dim=1)
        return Outputs(logits=self.classifier(fused), aux={"fused": fused})

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of each stack."""
        times, config = {"audio": frames, "text": words}, self.config
        layers = {"encoder": config.encoder_layers, "stream": 2 * config.cross_layers + config.fusion_layers}
        depths = {f"{stack}_{m}": depth for stack, depth in layers.items() for m in times}
        return draw_stack_masks(depths, batch, times, config.width, config.dropout, generator)


def preset(corpus: str) -> KSTransformerConfig:
    """The paper's lengths, for every corpus."""
    return KSTransformerConfig(max_frames=460, max_words=20)


SPEC = ModelSpec(
    modalities=("audio", "text"), features={"audio": "wav2vec2", "text": "roberta"}, preset=preset, build=KSTransformer
)

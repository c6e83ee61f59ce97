"""KS-Transformer: key-sparse attention and cascaded cross-attention.

W. Chen, X. Xing, X. Xu, J. Yang, J. Pang, "Key-sparse transformer for multimodal speech emotion recognition", ICASSP
2022 (arXiv 2106.11532). Its equations go by name here, since their numbers could not be looked up.

    weights      W = softmax(Q K^T / sqrt(d_Q))                  [B, h, Tq, Tk]
    importance   s_z = sum over queries of W's column z          [B, h, Tk]
    mask         M_z = 1 where s_z >= the k-th largest s, else 0
    attention    (W o M) V: the weights kept are unchanged, not renormalised

A KS-transformer is a transformer layer with that attention. In each modality (A audio, T text):

    extraction   5 vanilla transformer layers
    interaction  3 cascaded cross-attention blocks with a skip over them all; a block is a KS-transformer from A
                 (queries) to T (keys), and one of the result to itself; T to A likewise
    fusion       2 KS-transformers
    decision     means over time, concatenated, classified

`share` = 0.5 (the paper's k) of an utterance's own keys are kept, at least one. The authors' code
(HappyColor/Key-Sparse-Transformer) takes a share of the padded length and counts padded queries in s, which would make
a result depend on its batch. Equal importances at the threshold are all kept, as printed.

What differs: both features are first resized to one width, 256 (the paper has the features' own, 512 and 1024), and the
feed-forward has half of it as in the code. Sinusoidal positions are added once, not at every attention. The decision is
two linear layers, not three. Dropout 0.1 on what a sub-layer adds; the decision's 0.5 is left out. Adam at 1e-4 for SGD
with a falling rate; 8 heads, batch 32 and at most 460 frames and 20 words as printed; 2500 steps as SMCN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor, nn

from emofuse.train.models.base import OTHER, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    MultiHeadAttention,
    TransformerEncoder,
    TransformerLayer,
    draw_keep,
    head,
    indivisible,
    masked_mean,
    sinusoids,
    time_mask,
)
from emofuse.train.models.config import SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class KSTransformerConfig(SequenceConfig):
    """The paper's hyper-parameters, and what differs."""

    width: int = setting(256)
    heads: int = setting(8)
    feedforward: int = setting(128)
    encoder_layers: int = setting(5, positive=False)
    cross_layers: int = setting(3)
    """Cascaded cross-attention blocks."""
    fusion_layers: int = setting(2, positive=False)
    share: float = setting(0.5, most=1.0)
    """The share of keys that attention keeps."""
    dropout: float = setting(0.1, positive=False, most=0.9)

    def problems(self, ablation: str | None) -> list[str]:
        """A width that heads do not divide."""
        return SequenceConfig.problems(self, ablation) + indivisible(self.width, self.heads)


def strongest(importance: Tensor, keys: Tensor, share: float) -> Tensor:
    """True for the `share` of true keys with the largest importance, at least one: [B, h, Tk], for `keys` [B, Tk]."""
    count = (keys.sum(1) * share).long().clamp(min=1)
    ranked = importance.masked_fill(~keys.unsqueeze(1), -1).sort(dim=2, descending=True).values
    place = (count - 1).reshape(-1, 1, 1).expand(-1, importance.shape[1], 1)
    return (importance >= ranked.gather(2, place)) & keys.unsqueeze(1)


class KeySparseAttention(MultiHeadAttention):
    """Attention that keeps the strongest keys of each head."""

    def __init__(self, dimension: int, heads: int, share: float) -> None:
        super().__init__(dimension, heads)
        self.share = share

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Let [B, Tq, D] attend to [B, Tk, D]; `mask` [B, Tq, Tk] is true where both the query and the key are."""
        q, k, v = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(query), self.key(memory), self.value(memory))
        )
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        # Padded queries have no true pair: a finite score keeps their softmax finite, and the mask sets it to zero.
        pairs = mask.unsqueeze(1)
        weights = torch.softmax(scores.masked_fill(~pairs, torch.finfo(scores.dtype).min), dim=3).masked_fill(~pairs, 0)
        kept = strongest(weights.sum(2), mask.any(1), self.share)
        found = (weights * kept.unsqueeze(2)) @ v
        attended: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return attended


class KeySparseLayer(TransformerLayer):
    """A KS-transformer: a transformer layer whose mask is one of pairs, [B, Tq, Tk]."""

    def __init__(self, config: KSTransformerConfig) -> None:
        super().__init__(config.width, config.heads, config.feedforward, config.dropout)
        self.attention = KeySparseAttention(config.width, config.heads, config.share)


class Stream(nn.Module):
    """What one modality goes through, from its extracted features and the other modality's: [B, T, d] -> [B, T, d]."""

    def __init__(self, config: KSTransformerConfig) -> None:
        super().__init__()
        self.cross = nn.ModuleList(KeySparseLayer(config) for _ in range(config.cross_layers))
        self.blend = nn.ModuleList(KeySparseLayer(config) for _ in range(config.cross_layers))
        self.fusion = nn.ModuleList(KeySparseLayer(config) for _ in range(config.fusion_layers))

    def forward(self, own: Tensor, other: Tensor, mask: Tensor, other_mask: Tensor, keep: Tensor | None) -> Tensor:
        """`mask` [B, T] and `other_mask` [B, To] are true on frames; `keep` has [2, B, T, d] for each layer in turn."""
        within, across = (mask.unsqueeze(2) & m.unsqueeze(1) for m in (mask, other_mask))
        keeps = repeat(None) if keep is None else iter(keep)
        x = own
        for cross, blend in zip(self.cross, self.blend, strict=True):
            x = cross(x, other, across, next(keeps))
            x = blend(x, x, within, next(keeps))
        x = x + own
        for layer in self.fusion:
            x = layer(x, x, within, next(keeps))
        return x


class KSTransformer(FusionModel):
    """The network; `inputs` must have both modalities."""

    def __init__(self, config: KSTransformerConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        assert inputs.audio is not None
        assert inputs.text is not None
        dimensions, width = {"audio": inputs.audio, "text": inputs.text}, config.width
        sizes = (width, config.heads, config.feedforward, config.encoder_layers, config.dropout)
        self.resize = nn.ModuleDict({m: nn.Linear(d, width) for m, d in dimensions.items()})
        self.encoder = nn.ModuleDict({m: TransformerEncoder(*sizes) for m in dimensions})
        self.stream = nn.ModuleDict({m: Stream(config) for m in dimensions})
        self.classifier = head(2 * width, width, inputs.classes)

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
        """`aux` holds the concatenated means as `fused`."""
        draws = draws or {}
        lengths: dict[str, Tensor] = {}
        features: dict[str, Tensor] = {}
        for m, x, length in (("audio", audio, audio_lengths), ("text", text, text_lengths)):
            assert length is not None
            x, lengths[m] = self.resize[m](x), length
            x = x + sinusoids(x.shape[1], x.shape[2], x.device)
            features[m] = self.encoder[m](x, length, draws.get(f"encoder_{m}"))
        masks = {m: time_mask(lengths[m], x.shape[1], x.device) for m, x in features.items()}
        means = []
        for m, other in OTHER.items():
            x = self.stream[m](features[m], features[other], masks[m], masks[other], draws.get(f"stream_{m}"))
            means.append(masked_mean(x, lengths[m]))
        fused = torch.cat(means, dim=1)
        return Outputs(logits=self.classifier(fused), aux={"fused": fused})

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """What dropout leaves in each stack."""
        times, config = {"audio": frames, "text": words}, self.config
        depths = {"encoder": config.encoder_layers, "stream": 2 * config.cross_layers + config.fusion_layers}
        shapes = {f"{n}_{m}": (depth, 2, batch, times[m], config.width) for n, depth in depths.items() for m in times}
        return {name: draw_keep(shape, config.dropout, generator) for name, shape in shapes.items()}


def preset(corpus: str) -> KSTransformerConfig:
    """The paper's lengths, for every corpus."""
    return KSTransformerConfig(max_frames=460, max_words=20)


SPEC = ModelSpec(
    modalities=("audio", "text"), features={"audio": "wav2vec2", "text": "roberta"}, preset=preset, build=KSTransformer
)

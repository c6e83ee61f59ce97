"""MSMSER: Modality-Sensitive Multimodal Speech Emotion Recognition.

S. Wang, Y. Ma, Y. Ding, "Exploring complementary features in multi-modal speech emotion recognition", ICASSP 2023.

Shapes: B batch, Ta frames, Tt words, T either of them, D feature dimension, d_e width, L query tokens, C classes.

The paper numbers no equations; by section:

    2.1  x' = E(W x), E a transformer encoder; frame t is scaled by sigmoid(MLP(x'_t))          [B, T, d_e]
    2.2  K = V = [a' + positions + type of audio, w' + positions + type of text]                [B, Ta + Tt, d_e]
         Q = L trainable query tokens. A transformer decoder: self-attention among the tokens, cross-attention to K and
         V, feed-forward. Then attention pooling over the L tokens and a two-layer MLP.
    2.3  random modality masking: with probability p a training sample loses one modality, the text with 0.6 or the
         audio with 0.4; p = 0.8 max(0, 1 - progress / 0.7)

Contradictions in the paper, and how they are read:
- Features are "appended with" positions and types. These are added, since the decoder's width is 768 either way.
- "100 epochs" and a decay "at the 70th": the last 30 epochs have no masking.
- Section 2.1's "self-attention module" is the scale above, not attention.
- Section 4.3 says "w/o RMM (only audio)" where the audio is masked. It means "only text", as in Table 3.

Open in the paper, and what is chosen:
- 2 encoder layers for each modality and 2 decoder layers, feed-forward 3072, layer norm after each residual, dropout
  0.1 on the output of each sub-layer.
- Sinusoidal positions start at 0 in each modality, and are added only before concatenation.
- MLPs are 768 -> 768 -> out with a ReLU. The pooling is SMCN's: softmax over L of u . tanh(W q + b).
- Tokens start normal with deviation 1, so that they differ from the first attention on; types with 0.02, like BERT's.
- The loss is not printed: cross-entropy. The decay follows steps, so a shorter training also decays over 0.7 of it.
- 1250 frames, 25 s at HuBERT's 50 Hz: 5 of IEMOCAP's 5531 utterances are longer. 150 words, as in SMCN.

The masking acts only on the decoder's keys. A modality that is absent, in training or at inference, is one that no
token attends to.

Ablations: Text and Audio send one modality through the same network, without masking. "w/o MIT" also has no masking,
since it has no attention mask; the mean of an absent modality is zero there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import Ablation, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    AttentionPooling,
    MultiHeadAttention,
    TransformerEncoder,
    TransformerLayer,
    apply_dropout,
    by_modality,
    draw_dropout_mask,
    draw_stack_masks,
    masked_mean,
    mlp,
    time_masks,
    width_problems,
    with_positions,
)
from emofuse.train.models.config import SequenceConfig, setting

MASKING_ENDS = 0.7
TEXT_SHARE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class MSMSERConfig(SequenceConfig):
    """The paper's hyper-parameters, and the choices where it is open."""

    width: int = setting(768)
    heads: int = setting(8)
    feedforward: int = setting(3072)
    dropout: float = setting(0.1, positive=False, most=0.9)
    audio_layers: int = setting(2, modality="audio", positive=False)
    text_layers: int = setting(2, modality="text", positive=False)
    scaling: bool = setting(True)
    """Whether each frame is scaled (the "self-attention module" of section 2.1)."""
    decoder_layers: int = setting(2, positive=False)
    """0 (with `tokens` 0) replaces the modality interaction transformer by means over time, concatenated."""
    tokens: int = setting(30, positive=False)
    masking: float = setting(0.8, modality="both", positive=False, most=1.0)
    """The probability p of random modality masking at the start of training."""

    def problems(self, ablation: str | None) -> list[str]:
        """A width that heads do not divide, or half a modality interaction transformer."""
        problems = [*SequenceConfig.problems(self, ablation), *width_problems(self.width, self.heads)]
        if not self.decoder_layers * self.tokens and (self.decoder_layers or self.tokens or self.masking):
            problems.append(
                f"decoder_layers={self.decoder_layers}, tokens={self.tokens}, masking={self.masking:g}: expected "
                "decoder_layers and tokens above 0, or all three 0 (--ablation 'w/o MIT')"
            )
        return problems


class Refinement(nn.Module):
    """Section 2.1 for one modality: [B, T, D] -> [B, T, d_e]."""

    def __init__(self, dimension: int, depth: int, config: MSMSERConfig) -> None:
        super().__init__()
        width = config.width
        self.resize = nn.Linear(dimension, width)
        self.encoder = TransformerEncoder(width, config.heads, config.feedforward, depth, config.dropout)
        self.scale = mlp(width, width, 1) if config.scaling else None

    def forward(self, x: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Tensor:
        """`keep` holds the encoder's dropout masks [depth, 2, B, T, d_e]; None in evaluation."""
        encoded: Tensor = self.encoder(self.resize(x), lengths, keep)
        return encoded if self.scale is None else encoded * torch.sigmoid(self.scale(encoded))


class DecoderLayer(nn.Module):
    """Self-attention among the queries, cross-attention to a memory, feed-forward; layer norm after each residual."""

    def __init__(self, dimension: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = MultiHeadAttention(dimension, heads)
        self.norm = nn.LayerNorm(dimension)
        self.cross = TransformerLayer(dimension, heads, feedforward, dropout)

    def forward(self, q: Tensor, memory: Tensor, mask: Tensor, keep: Tensor | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D].

        Args:
            q: The queries.
            memory: Keys and values of the cross-attention [B, Tk, D].
            mask: [B, Tk], true on the keys that may be read.
            keep: Dropout masks of the three sub-layers [3, B, L, D]; None in evaluation.
        """
        all_tokens = torch.ones(q.shape[:2], dtype=torch.bool, device=q.device)
        q = self.norm(q + apply_dropout(self.attention(q, q, all_tokens), keep, 0, self.dropout))
        crossed: Tensor = self.cross(q, memory, mask, None if keep is None else keep[1:])
        return crossed


class ModalityInteraction(nn.Module):
    """Section 2.2 without the classifier: refined modalities -> one vector [B, d_e]."""

    def __init__(self, modalities: tuple[str, ...], config: MSMSERConfig) -> None:
        super().__init__()
        width = config.width
        self.types = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(width)) for m in modalities})
        self.tokens = nn.Parameter(torch.randn(config.tokens, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.heads, config.feedforward, config.dropout) for _ in range(config.decoder_layers)
        )
        self.pooling = AttentionPooling(width)

    def forward(self, refined: Mapping[str, Tensor], masks: Mapping[str, Tensor], keep: Tensor | None = None) -> Tensor:
        """Let the tokens attend to the modalities, and pool the tokens.

        Args:
            refined: Modality present -> [B, T, d_e].
            masks: Modality -> [B, T], true where tokens may attend.
            keep: Dropout masks [layers, 3, B, L, d_e]; None in evaluation.
        """
        memory = torch.cat([with_positions(x) + self.types[m] for m, x in refined.items()], dim=1)
        mask = torch.cat([masks[m] for m in refined], dim=1)
        q = self.tokens.expand(memory.shape[0], -1, -1)
        for i, layer in enumerate(self.layers):
            q = layer(q, memory, mask, None if keep is None else keep[i])
        pooled: Tensor = self.pooling(q, torch.full(q.shape[:1], q.shape[1], device=q.device))
        return pooled


def masked_modality(uniform: Tensor, p: float) -> dict[str, Tensor]:
    """Section 2.3: modality -> true for the samples that lose it [B], from one uniform number per sample [B]."""
    text = uniform < TEXT_SHARE * p
    return {"audio": (uniform < p) & ~text, "text": text}


class MSMSER(FusionModel):
    """The network for one modality or both; with both, either one may be absent at inference."""

    def __init__(self, config: MSMSERConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, width = config, config.width
        dimensions = inputs.dimensions
        depths = {"audio": config.audio_layers, "text": config.text_layers}
        self.depths = {m: depths[m] for m in dimensions}
        self.refinement = nn.ModuleDict({m: Refinement(d, depths[m], config) for m, d in dimensions.items()})
        self.interaction = ModalityInteraction(tuple(dimensions), config) if config.decoder_layers else None
        self.head = mlp(width * (1 if self.interaction else len(dimensions)), width, inputs.classes)

    def masking(self, progress: float) -> float:
        """Section 2.3: the probability p with which a training sample loses a modality."""
        return self.config.masking * max(0.0, 1 - progress / MASKING_ENDS)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks, and the uniform numbers [B] that decide which modality is masked."""
        times, config = {"audio": frames, "text": words}, self.config
        draws = draw_stack_masks(self.depths, batch, times, config.width, config.dropout, generator)
        decoder = (config.decoder_layers, 3, batch, config.tokens, config.width)
        draws["decoder"] = draw_dropout_mask(decoder, config.dropout, generator)
        return draws | {"masking": torch.rand(batch, generator=generator, device=generator.device)}

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
        """Section 2; `aux["fused"]` holds the pooled tokens [B, d_e] ("w/o MIT": the means [B, 2 d_e])."""
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        refined = {m: self.refinement[m](x, lengths, draws.get(m)) for m, (x, lengths) in batch.items()}
        if self.interaction is None:
            means = {m: masked_mean(refined[m], lengths) for m, (_, lengths) in batch.items()}
            zero = torch.zeros_like(next(iter(means.values())))
            fused = torch.cat([means.get(m, zero) for m in self.refinement], dim=1)
        else:
            masks = time_masks(batch)
            if draws and len(batch) == 2:
                lost = masked_modality(draws["masking"], self.masking(progress))
                masks = {m: mask & ~lost[m].unsqueeze(1) for m, mask in masks.items()}
            fused = self.interaction(refined, masks, draws.get("decoder"))
        return Outputs(logits=self.head(fused), aux={"fused": fused})


def preset(corpus: str) -> MSMSERConfig:
    """Section 3.2, for every corpus: the paper has only IEMOCAP."""
    return MSMSERConfig(steps=0, epochs=100.0, batch=8, lr=2e-5, max_frames=1250)


SPEC = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "hubert", "text": "mpnet"},
    preset=preset,
    build=MSMSER,
    optional=("audio", "text"),
    ablations={
        "Text": Ablation(settings={"masking": 0.0}, modalities=("text",)),
        "Audio": Ablation(settings={"masking": 0.0}, modalities=("audio",)),
        "w/o Encoder": Ablation(settings={"audio_layers": 0, "text_layers": 0}),
        "w/o SelfAtt": Ablation(settings={"scaling": False}),
        "w/o MIT": Ablation(settings={"decoder_layers": 0, "tokens": 0, "masking": 0.0}),
        "w/o RMM": Ablation(settings={"masking": 0.0}),
    },
)

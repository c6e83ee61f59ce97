"""Co-attention: speech and text attend to each other in turn.

C. H. C. Leung, J. J. Deng, "Multimodal emotion recognition using speech and text", IARIA Congress 2022 (slides). The
alternation is that of J. Lu et al., "Hierarchical question-image co-attention", NeurIPS 2016.

Shapes: B batch, T time steps, D feature dimension, d width, k attention units, C classes.

    (3)  L(X; g):  H = tanh(W_x X + (W_g g) V^T)      [k, T], V all ones: g is added to every frame
                   a = softmax(w_h^T H)               [T]
                   x^ = sum_i a_i x_i                 [d]
    y1 = L(text; 0),  x^ = L(speech; y1),  y^ = L(text; x^)
    (4)  z = LayerNorm(W_x^T x^ + W_y^T y^)           [d]
    logits = linear(z), one sigmoid per class, binary cross-entropy

Contradictions and misprints in the slides, and how they are read:
- "g_x is derived from speech and g_y from text", yet the guidance of the first step is 0, and the text attended there
  guides the second. It is read as Lu et al.'s alternation above: text guides speech, and speech guides text.
- a-hat and a^x are the same. W_x and W_y of eq. 4 are not the k x d matrices of eq. 3. In eq. 3, X and g have one width
  d: a linear layer resizes each feature first.
- Binary cross-entropy with one emotion per clip is one-vs-rest against one-hot targets, the mean over classes. Class
  weights weight utterances by their true class, like the cross-entropy of the other models. Stored probabilities are
  the sigmoids divided by their sum.

Open in the slides, and what is chosen:
- d = 256 and k = 128. The three attentions share no parameters. W_g of the first one would get no gradient and is not
  built.
- "Transformer network with deep co-attention": `encoder_layers` transformer layers (with sinusoidal positions) per
  modality before the attentions, and `rounds`. Each further round starts with guidance x^, as y^ = L(text; x^) does,
  and adds a speech and a text attention with their own parameters. `encoder_layers=0` and `rounds=1` are the bare
  equations.
- Adam at 1e-4, batch 32, 2500 steps, 500 frames and 150 words: SMCN's values, since nothing is stated. Dropout 0.1 in
  the transformer layers.

Rows with one modality (T5, TRILL): the same network on that modality, x^ = L(X; 0), z = LayerNorm(W_x^T x^).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import Ablation, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    TransformerEncoder,
    by_modality,
    draw_stack_masks,
    masked_softmax,
    weighted_sum,
    width_problems,
    with_positions,
)
from emofuse.train.models.config import CROSS_ENTROPY, SequenceConfig, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class CoAttentionConfig(SequenceConfig):
    """Hyper-parameters; the slides state none."""

    width: int = setting(256)
    units: int = setting(128)
    encoder_layers: int = setting(1, positive=False)
    rounds: int = setting(1, modality="both")
    heads: int = setting(4)
    feedforward: int = setting(1024)
    dropout: float = setting(0.1, positive=False, most=0.9)

    def idle(self) -> dict[str, str]:
        """The changes of cross-entropy, and the settings of the transformer layers, if there are no layers."""
        losses = dict.fromkeys(CROSS_ENTROPY, "the loss of this model is binary cross-entropy of each class")
        layers = dict.fromkeys(("heads", "feedforward", "dropout"), "encoder_layers=0")
        return losses | ({} if self.encoder_layers else layers)

    def problems(self, ablation: str | None) -> list[str]:
        """A width that heads do not divide."""
        uneven = width_problems(self.width, self.heads) if self.encoder_layers else []
        return SequenceConfig.problems(self, ablation) + uneven


class GuidedAttention(nn.Module):
    """Eq. 3: L(X; g) if `guided`, else L(X; 0)."""

    def __init__(self, width: int, units: int, guided: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(width, units, bias=False)
        self.guide = nn.Linear(width, units, bias=False) if guided else None
        self.score = nn.Parameter(torch.empty(units))
        nn.init.uniform_(self.score, -(units**-0.5), units**-0.5)

    def weights(self, x: Tensor, lengths: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Attention weights [B, T] of x [B, T, d] under guidance [B, d]; zero on padding, and each row sums to one."""
        inner = self.inner(x)
        if self.guide is not None:
            inner = inner + self.guide(guidance).unsqueeze(1)
        return masked_softmax(torch.tanh(inner) @ self.score, lengths)

    def forward(self, x: Tensor, lengths: Tensor, guidance: Tensor | None = None) -> Tensor:
        """[B, T, d] -> [B, d]."""
        return weighted_sum(x, self.weights(x, lengths, guidance))


class CoAttention(FusionModel):
    """The network for one modality or both."""

    def __init__(self, config: CoAttentionConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        dimensions = inputs.dimensions
        self.order = tuple(dimensions) if len(dimensions) == 1 else ("text", "audio") * config.rounds + ("text",)
        self.resize = nn.ModuleDict({m: nn.Linear(d, config.width) for m, d in dimensions.items()})
        sizes = (config.width, config.heads, config.feedforward, config.encoder_layers, config.dropout)
        self.encoder = nn.ModuleDict({m: TransformerEncoder(*sizes) for m in dimensions})
        self.attention = nn.ModuleList(
            GuidedAttention(config.width, config.units, guided=step > 0) for step in range(len(self.order))
        )
        self.projection = nn.ModuleDict({m: nn.Linear(config.width, config.width, bias=False) for m in dimensions})
        self.norm = nn.LayerNorm(config.width)
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
        """Eq. 3 step by step, then eq. 4; `aux` holds x^ as `audio`, y^ as `text`, and z as `fused`, all [B, d]."""
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        draws = draws or {}
        frames = {m: self._encode(m, x, lengths, draws.get(m)) for m, (x, lengths) in batch.items()}
        attended: dict[str, Tensor] = {}
        guidance = None
        for modality, attention in zip(self.order, self.attention, strict=True):
            guidance = attended[modality] = attention(frames[modality], batch[modality][1], guidance)
        projected = [self.projection[m](x) for m, x in attended.items()]
        fused = self.norm(torch.stack(projected).sum(0))
        return Outputs(logits=self.classifier(fused), aux=attended | {"fused": fused})

    def _encode(self, modality: str, x: Tensor, lengths: Tensor, keep: Tensor | None) -> Tensor:
        resized: Tensor = self.resize[modality](x)
        if self.config.encoder_layers:
            resized = with_positions(resized)
        encoded: Tensor = self.encoder[modality](resized, lengths, keep)
        return encoded

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of each modality's transformer layers."""
        times, config = {"audio": frames, "text": words}, self.config
        depths = dict.fromkeys(self.encoder, config.encoder_layers)
        return draw_stack_masks(depths, batch, times, config.width, config.dropout, generator)

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Binary cross-entropy of each class against the rest: mean over classes, then over (weighted) utterances.

        Where the target is not one class, its own loss takes this place.
        """
        if labels.dim() > 1:
            return self.target_loss(outputs.logits, labels)
        logits = outputs.logits
        targets = labels.unsqueeze(1) == torch.arange(logits.shape[1], device=logits.device)
        losses = F.binary_cross_entropy_with_logits(logits, targets.to(logits), reduction="none").mean(1)
        weights = torch.ones_like(losses) if self.class_weights is None else self.class_weights[labels]
        return (weights * losses).sum() / weights.sum()

    def probabilities(self, outputs: Outputs) -> Tensor:
        """The sigmoids divided by their sum; where the target is not one class, its own values."""
        if not self.criterion.of_one_class:
            return super().probabilities(outputs)
        return torch.softmax(F.logsigmoid(outputs.logits), dim=1)


def preset(corpus: str) -> CoAttentionConfig:
    """The same for every corpus: the slides state nothing."""
    return CoAttentionConfig()


SPEC = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "trill", "text": "t5"},
    preset=preset,
    build=CoAttention,
    ablations={"Audio": Ablation(modalities=("audio",)), "Text": Ablation(modalities=("text",))},
)

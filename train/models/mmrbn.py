"""MMRBN: Rule-Based Network for Multimodal Emotion Recognition.

X. Chen, "MMRBN: Rule-based network for multimodal emotion recognition", ICASSP 2024.

Rule 1: the audio module is deeper than the text module. Rule 2: the modalities are fused by weights that depend on the
utterance.

Shapes: B batch, T time steps, d width, d' = d / r, C classes.

    r_a, r_t        M = 4 and N = 2 transformer layers on the resized features             [B, T, d]
    r_A-t, r_T-a    L co-attention layers: each stream's queries attend to the other's keys and values
    R_A, R_T        means over time                                                        [B, d]
    (1)  G = ReLU(FC(R_A + R_T))                                                           [B, d']
    (2)  I_A = W_A G,  I_T = W_T G                                                         [B, d]
         Attn_A, Attn_T = softmax over the two modalities, channel by channel
    (3)  R_M = R_A * Attn_A + R_T * Attn_T                                                 [B, d]
    (4)  L = alpha L_A + beta L_T + gamma L_M,  alpha + beta + gamma = 1: cross-entropies of heads on R_A, R_T, R_M

Misprints in the paper, and how they are read:
- The left side of eq. 4 is the total loss. Section 2.3's e_a and e_t are the modules' outputs r_a and r_t.
- The circled plus of eq. 1 and 3 is addition.
- The "dynamic selection" and the "dynamic weighting" and fusion block are the same. The head on R_M predicts.

Open in the paper, and what is chosen:
- d = 256, 4 heads, feed-forward 4d, ReLU, dropout 0.1: 5531 utterances are too few for wider stacks.
- L = 2, like N. Both halves of a co-attention layer read the inputs of the layer. No self-attention follows, as the
  paper's pair has none.
- r = 4, so d' = 64. FC has a bias, W_A and W_T have none. Each head is one linear layer.
- alpha = beta = 0.25 and gamma = 0.5: symmetric, with most weight on the head that predicts. A head with weight 0 is
  not built.
- No position encodings: the outputs of HuBERT and BERT carry position (`positions` adds sinusoids).
- Adam at 1e-4, batches of 32, 2500 steps: the paper states nothing about training, so SMCN's values are taken.
- 1250 frames, 25 s at HuBERT's 50 Hz: 5 of IEMOCAP's 5531 utterances are longer. 150 words, as in SMCN.

Ablations of Table 1: AM_6 and TM_6 are six layers of one modality, a mean and one head. MMRBN_2 and MMRBN_4 are the
only ones that break rule 1. MMRBN_conca and MMRBN_add replace eq. 1-3 and keep all three losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import OTHER_MODALITY, Ablation, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    TransformerEncoder,
    TransformerLayer,
    by_modality,
    draw_stack_masks,
    masked_mean,
    time_masks,
    width_problems,
    with_positions,
)
from emofuse.train.models.config import SequenceConfig, setting

SINGLE = ("AM_6", "TM_6")
WITHOUT_RULE_1 = ("MMRBN_2", "MMRBN_4")


@dataclass(frozen=True, slots=True, kw_only=True)
class MMRBNConfig(SequenceConfig):
    """The paper's hyper-parameters, and the choices where it is open."""

    width: int = setting(256)
    heads: int = setting(4)
    feedforward: int = setting(1024)
    dropout: float = setting(0.1, positive=False, most=0.9)
    audio_layers: int = setting(4, modality="audio")
    text_layers: int = setting(2, modality="text")
    cross_layers: int = setting(2, modality="both")
    ratio: int = setting(4, modality="both")
    fusion: str = setting("dynamic", modality="both", choices=("dynamic", "concatenate", "add"))
    alpha: float = setting(0.25, modality="both", positive=False, most=1.0)
    beta: float = setting(0.25, modality="both", positive=False, most=1.0)
    gamma: float = setting(0.5, modality="both", most=1.0)
    positions: str = setting("none", choices=("none", "sinusoidal"))

    def idle(self) -> dict[str, str]:
        """The ratio, unless the fusion is dynamic."""
        return {} if self.fusion == "dynamic" else {"ratio": f"fusion={self.fusion}"}

    def problems(self, ablation: str | None) -> list[str]:
        """Widths that do not divide, a broken rule 1, loss weights that do not sum to one."""
        problems = [*SequenceConfig.problems(self, ablation), *width_problems(self.width, self.heads)]
        if ablation in SINGLE:
            return problems
        if self.fusion == "dynamic" and self.width % self.ratio:
            nearest = -(-self.width // self.ratio) * self.ratio
            problems.append(
                f"width={self.width}, ratio={self.ratio}: expected a width that ratio divides, such as {nearest}"
            )
        if self.audio_layers <= self.text_layers and ablation not in WITHOUT_RULE_1:
            problems.append(
                f"audio_layers={self.audio_layers}, text_layers={self.text_layers}: expected more audio than text "
                f"layers (rule 1); change one, or take --ablation {' or '.join(WITHOUT_RULE_1)}"
            )
        total = self.alpha + self.beta + self.gamma
        if not math.isclose(total, 1, abs_tol=1e-6):
            problems.append(
                f"alpha={self.alpha:g}, beta={self.beta:g}, gamma={self.gamma:g} sum to {total:g}; expected 1: "
                "change one of them"
            )
        return problems


class CoAttentionLayer(nn.Module):
    """Section 2.3.1: one transformer layer per modality, which reads keys and values from the other modality."""

    def __init__(self, dimension: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.halves = nn.ModuleDict(
            {m: TransformerLayer(dimension, heads, feedforward, dropout) for m in OTHER_MODALITY}
        )

    def forward(
        self, x: Mapping[str, Tensor], masks: Mapping[str, Tensor], keep: Mapping[str, Tensor | None]
    ) -> dict[str, Tensor]:
        """Modality -> [B, T, d], both in and out; the residual is the modality's own stream.

        Args:
            x: Modality -> its stream.
            masks: Modality -> time mask [B, T].
            keep: Modality -> dropout masks [2, B, T, d]; None in evaluation.
        """
        return {
            m: half(x[m], x[OTHER_MODALITY[m]], masks[OTHER_MODALITY[m]], keep[m]) for m, half in self.halves.items()
        }


class DynamicWeighting(nn.Module):
    """Eq. 1-3: R_A, R_T [B, d] -> R_M [B, d]."""

    def __init__(self, dimension: int, ratio: int) -> None:
        super().__init__()
        self.integrate = nn.Linear(dimension, dimension // ratio)
        self.importance = nn.ModuleDict(
            {m: nn.Linear(dimension // ratio, dimension, bias=False) for m in OTHER_MODALITY}
        )

    def weights(self, R_A: Tensor, R_T: Tensor) -> Tensor:
        """Eq. 1 and 2: Attn_A and Attn_T, [2, B, d]; the first axis sums to one."""
        G = torch.relu(self.integrate(R_A + R_T))
        return torch.softmax(torch.stack([W(G) for W in self.importance.values()]), dim=0)

    def forward(self, R_A: Tensor, R_T: Tensor) -> Tensor:
        """Eq. 3: R_M [B, d]."""
        return (torch.stack([R_A, R_T]) * self.weights(R_A, R_T)).sum(0)


class MMRBN(FusionModel):
    """The network for one modality (its encoder, a mean and a head) or both."""

    def __init__(self, config: MMRBNConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        width, sizes = config.width, (config.width, config.heads, config.feedforward)
        depths = {"audio": config.audio_layers, "text": config.text_layers}
        self.depths = {m: depths[m] for m in inputs.dimensions}
        both = len(self.depths) == 2
        weights = {"audio": config.alpha, "text": config.beta, "fused": config.gamma} if both else {"fused": 1.0}
        self.loss_weights = {name: weight for name, weight in weights.items() if weight}
        self.resize = nn.ModuleDict({m: nn.Linear(d, width) for m, d in inputs.dimensions.items()})
        self.encoders = nn.ModuleDict(
            {m: TransformerEncoder(*sizes, n, config.dropout) for m, n in self.depths.items()}
        )
        self.cross_attention = nn.ModuleList(
            CoAttentionLayer(*sizes, config.dropout) for _ in range(config.cross_layers if both else 0)
        )
        if both and config.fusion == "dynamic":
            self.weighting = DynamicWeighting(width, config.ratio)
        fused = 2 * width if both and config.fusion == "concatenate" else width
        self.heads = nn.ModuleDict(
            {name: nn.Linear(fused if name == "fused" else width, inputs.classes) for name in self.loss_weights}
        )

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks of each modality's encoder and of its half of the co-attention layers."""
        depths = self.depths | {f"cross_{m}": len(self.cross_attention) for m in self.depths}
        times, config = {"audio": frames, "text": words}, self.config
        return draw_stack_masks(depths, batch, times, config.width, config.dropout, generator)

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
        """Eq. 1-3; `aux` holds R_audio, R_text [B, d], the logits of their heads, and fused (R_M)."""
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        masks = time_masks(batch)
        r = {m: self._encode(m, x, lengths, draws.get(m)) for m, (x, lengths) in batch.items()}
        for i, layer in enumerate(self.cross_attention):
            r = layer(r, masks, {m: draws[f"cross_{m}"][i] if draws else None for m in r})
        R = {m: masked_mean(r[m], lengths) for m, (_, lengths) in batch.items()}
        aux = {f"R_{m}": x for m, x in R.items()}
        aux |= {f"logits_{m}": self.heads[m](x) for m, x in R.items() if m in self.heads}
        aux["fused"] = self._fuse(*R.values())
        return Outputs(logits=self.heads["fused"](aux["fused"]), aux=aux)

    def _encode(self, modality: str, x: Tensor, lengths: Tensor, keep: Tensor | None) -> Tensor:
        x = self.resize[modality](x)
        if self.config.positions == "sinusoidal":
            x = with_positions(x)
        encoded: Tensor = self.encoders[modality](x, lengths, keep)
        return encoded

    def _fuse(self, *R: Tensor) -> Tensor:
        if len(R) == 1:
            return R[0]
        match self.config.fusion:
            case "concatenate":
                return torch.cat(R, dim=1)
            case "add":
                return R[0] + R[1]
        fused: Tensor = self.weighting(*R)
        return fused

    def terms(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """The unweighted terms of eq. 4: audio (L_A), text (L_T), fused (L_M); terms of weight 0 are left out."""
        logits = {"fused": outputs.logits}
        logits |= {m: outputs.aux[f"logits_{m}"] for m in self.loss_weights if m != "fused"}
        return {name: self.target_loss(x, labels) for name, x in logits.items()}

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Eq. 4; with one modality, its cross-entropy."""
        terms = self.terms(outputs, labels)
        return torch.stack([weight * terms[name] for name, weight in self.loss_weights.items()]).sum()


def preset(corpus: str) -> MMRBNConfig:
    """The same for every corpus: the paper has only IEMOCAP."""
    return MMRBNConfig(max_frames=1250)


SPEC = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "hubert", "text": "bert"},
    preset=preset,
    build=MMRBN,
    ablations={
        "AM_6": Ablation(settings={"audio_layers": 6}, modalities=("audio",)),
        "TM_6": Ablation(settings={"text_layers": 6}, modalities=("text",)),
        "MMRBN_2": Ablation(settings={"audio_layers": 2, "text_layers": 2}),
        "MMRBN_4": Ablation(settings={"audio_layers": 4, "text_layers": 4}),
        "MMRBN_conca": Ablation(settings={"fusion": "concatenate"}),
        "MMRBN_add": Ablation(settings={"fusion": "add"}),
    },
)

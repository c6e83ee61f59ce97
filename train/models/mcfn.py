"""MCFN: Modality-Collaborative Fusion Network.

X. Zhang, Y. Li, "A dual attention-based modality-collaborative fusion network for emotion recognition", Interspeech
2023. Each modality (s speech, t text) is first encoded by itself. Then both are aligned and excite each other, and
three classifiers vote. The layers are in `blocks/mcfn_layers.py`.

Shapes: B batch, n frames, m words, d width, C classes.

    X^s -> masks -> [static, delta, delta-delta] -> three UFLBs -> O_s [B, n, d];    X^t -> linear -> O_t [B, m, d]
    (1)     T_t,j = O_j + sum_i t_ji T_3,i,           t_ji = softmax over i of T_1,i . T_2,j     (time steps i, j)
    (2)     T_c,j = O_j + sum_i c_ji O_i,             c_ji = softmax over i of O_i . O_j         (channels i, j)
            T = T_t + T_c;  S likewise from O_s, with its own parameters
    (3, 4)  s~_j = sum_i alpha_ij s_i,                alpha_ij = softmax over frames i of tanh(U^T s_i + V^T t_j + b)
    (5, 6)  S^c = S~ (1 + sigmoid(W_s T)),            T^c = T (1 + sigmoid(W_t S~))              [B, m, d]
    (7)     L_ad = MSE(S, S^c) + MSE(T, T^c)
            S^f = S + S^c,  T^f = T + T^c
    (8, 9)  P = alpha P^s(S^f) + beta P^t(T^f) + gamma P^st([S^f, T^f]),   alpha + beta + gamma = 1
    (10,11) L = sum_m lambda_m cross-entropy(P^m) + omega L_ad

Misprints in the paper, and how they are read:
- Eq. 1 and 2: the index of the sum does not occur, and N is not the length. "T" on the right is the input O_t, which
  enters T twice.
- Eq. 4: the indices are swapped. S~ has m columns (words), not n: each word attends to the frames.
- Eq. 7 and S^f would add n frames to m words: both are computed on the means over time.
- Eq. 7 divides by N only. It is also the mean over features. No stop-gradient is printed, and there is none.

Open in the paper, and what is chosen (the authors' public code is another model; only sizes come from it):
- 40 bands. Masks are one run of up to 15 of 40 bands and one of up to 18 % of the utterance's own frames, set to zero,
  which is the mean: the cited recipe has 48 of 128 and 192 of 1056. Other widths are masked by the same share, rounded
  down.
- Deltas: regression over five frames, applied twice, with the first and last frame repeated.
- UFLB: kernel 3, 64-128-256 channels, leaky slope 0.01. One skip over the stack (`skip`), a convolution of width 1 with
  batch norm, added after the last activation. Batch norm ignores padding.
- Eq. 2 has no scale, and its scores are sums over all frames: at initialisation, most rows of the channel attention of
  speech are nearly one-hot, so a channel mostly adds itself. `channel_scale` = `sqrt` divides them by the square root
  of the utterance's own number of frames. docs/reference/reproduce.md has the measured shares and scores of both.
- T_1 and T_2 have 32 channels. In eq. 3 each of the 4 heads has its own u, v, b; 128 units are 4 x 32 values, projected
  back to 256.
- W_s and W_t have no bias, as printed. Each classifier is one linear layer. lambda = 1, omega = 1. No dropout.
- RoBERTa is frozen here; the paper fine-tunes it. 50 epochs. 16 s of speech, since the temporal map has n x n entries:
  48 of IEMOCAP's 5531 and 26 of MELD's 13,706 utterances are longer. 150 word pieces, as in SMCN: MELD's longest text
  has 93 words and punctuation marks.

Ablations of Table 3:
- Speech only, Text only and Bimodal have only that classifier and its cross-entropy.
- w/o DAB: S = O_s, T = O_t.
- w/o CMI: no excitement (S^c = S~, T^c = T).
- w/o Intra-modal^s: S^f = S^c, no speech term in eq. 7, 8 and 11, beta and gamma scaled to sum to one; ^t likewise.
- w/o MA: omega = 0.
A module that would get no gradient is not built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import Ablation, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import by_modality, masked_mean, time_masks
from emofuse.train.models.config import SequenceConfig, setting
from emofuse.train.models.mcfn_layers import (
    DualAttention,
    ModalityCollaboration,
    SpeechEncoder,
    time_frequency_masked,
    with_deltas,
)

SYMBOL = {"audio": "s", "text": "t"}
"""Modality -> its letter in the equations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MCFNConfig(SequenceConfig):
    """The paper's hyper-parameters, and the choices where it is open."""

    width: int = setting(256)
    heads: int = setting(4, modality="both")
    units: int = setting(128, modality="both")
    skip: str = setting("stack", modality="audio", choices=("stack", "block"))
    mask_bands: float = setting(15 / 40, modality="audio", positive=False, most=1.0)
    mask_frames: float = setting(0.18, modality="audio", positive=False, most=1.0)
    dual_attention: bool = setting(True)
    channel_scale: str = setting("none", choices=("none", "sqrt"))
    """What divides the scores of eq. 2: nothing, as printed, or the square root of the number of time steps."""
    excitement: bool = setting(True, modality="both")
    intra: str = setting("both", modality="both", choices=("both", "audio", "text"))
    """The modalities whose own S or T is in S^f, T^f and in eq. 7."""
    alpha: float = setting(0.3, modality="both", positive=False)
    beta: float = setting(0.3, modality="both", positive=False)
    gamma: float = setting(0.4, modality="both", positive=False)
    lambda_s: float = setting(1.0, modality="both", positive=False)
    lambda_t: float = setting(1.0, modality="both", positive=False)
    lambda_st: float = setting(1.0, modality="both", positive=False)
    omega: float = setting(1.0, modality="both", positive=False)

    def problems(self, ablation: str | None) -> list[str]:
        """Weights that break eq. 9, classifiers that vote but are not trained, and sizes that do not divide."""
        problems = SequenceConfig.problems(self, ablation)
        votes = {"alpha": "lambda_s", "beta": "lambda_t", "gamma": "lambda_st"}
        given = " + ".join(f"{key}={getattr(self, key):g}" for key in votes)
        total = sum(getattr(self, key) for key in votes)
        if not math.isclose(total, 1, abs_tol=1e-6):
            problems.append(f"{given} is {total:g}; expected 1")
        for key, trained in votes.items():
            if getattr(self, key) and not getattr(self, trained):
                problems.append(
                    f"{key}={getattr(self, key):g} is the vote of a classifier that {trained}=0 does not train"
                )
        if self.width % 8:
            problems.append(f"width={self.width}: expected a multiple of 8")
        if self.units % self.heads:
            problems.append(f"heads={self.heads} does not divide units={self.units}")
        return problems

    def idle(self) -> dict[str, str]:
        """`channel_scale` without the attention that it scales."""
        return SequenceConfig.idle(self) | ({} if self.dual_attention else {"channel_scale": "dual_attention=false"})


class MCFN(FusionModel):
    """The network for one modality or both."""

    def __init__(self, config: MCFNConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        width = config.width
        used = [SYMBOL[modality] for modality in inputs.dimensions]
        if inputs.audio is not None:
            self.speech = SpeechEncoder(3 * inputs.audio, width, config.skip)
        if inputs.text is not None:
            self.text = nn.Linear(inputs.text, width)
        self.dual_attention = nn.ModuleDict(
            {m: DualAttention(width, width // 8, config.channel_scale) for m in used if config.dual_attention}
        )
        # The classifiers' weights in eq. 8 and eq. 11, and the modalities of eq. 7.
        self.votes, self.lambdas, self.intra = dict.fromkeys(used, 1.0), dict.fromkeys(used, 1.0), ""
        if len(used) == 2:
            self.collaboration = ModalityCollaboration(width, config.heads, config.units, excitement=config.excitement)
            self.votes = {"s": config.alpha, "t": config.beta, "st": config.gamma}
            self.lambdas = {"s": config.lambda_s, "t": config.lambda_t, "st": config.lambda_st}
            self.intra = {"both": "st", "audio": "s", "text": "t"}[config.intra]
        self.classifiers = nn.ModuleDict(
            {m: nn.Linear(width * len(m), inputs.classes) for m, weight in self.lambdas.items() if weight}
        )

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
        """Eq. 1-6, 8; the logits are log P.

        `aux` holds logits_m and p_m [B, C] of each classifier m = s, t, st; the means over time pooled_m (S, T) and
        crossed_m (S^c, T^c) [B, d]; and fused, [S^f, T^f].
        """
        own: dict[str, Tensor] = {}
        aux: dict[str, Tensor] = {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        masks = {SYMBOL[modality]: mask for modality, mask in time_masks(batch).items()}
        for modality, (x, lengths) in batch.items():
            m = SYMBOL[modality]
            x = self._speech(x, lengths, masks[m], draws) if m == "s" else self._text(x, masks[m])
            own[m] = self.dual_attention[m](x, masks[m]) if self.config.dual_attention else x
            aux[f"pooled_{m}"] = masked_mean(own[m], lengths)
        final = {m: aux[f"pooled_{m}"] for m in own}
        if text_lengths is not None and len(own) == 2:
            for m, x in zip("st", self.collaboration(own["s"], own["t"], masks["s"]), strict=True):
                crossed = aux[f"crossed_{m}"] = masked_mean(x, text_lengths)
                final[m] = final[m] + crossed if m in self.intra else crossed
        aux["fused"] = torch.cat(list(final.values()), dim=1)
        logits: dict[str, Tensor] = {}
        for m, classifier in self.classifiers.items():
            aux[f"logits_{m}"] = classifier(aux["fused"] if m == "st" else final[m])
            logits[m] = aux[f"logits_{m}"]
            aux[f"p_{m}"] = self.criterion.values(logits[m])
        return Outputs(logits=self.criterion.mixed(logits, self.votes), aux=aux)

    def _speech(self, x: Tensor, lengths: Tensor, mask: Tensor, draws: Mapping[str, Tensor] | None) -> Tensor:
        """X^s -> O_s [B, n, d]."""
        if draws is not None:
            x = time_frequency_masked(x, lengths, draws["masks"], self.config.mask_bands, self.config.mask_frames)
        embedded: Tensor = self.speech(with_deltas(x, lengths), mask)
        return embedded

    def _text(self, x: Tensor, mask: Tensor) -> Tensor:
        """X^t -> O_t [B, m, d], zero on padding."""
        embedded: Tensor = self.text(x)
        return embedded.masked_fill(~mask.unsqueeze(2), 0)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform numbers [B, 4] for `time_frequency_masked`."""
        return {"masks": torch.rand(batch, 4, generator=generator, device=generator.device)} if frames else {}

    def terms(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """The unweighted terms of eq. 11: eq. 10 of each classifier (s, t, st), and eq. 7 (ad) with both modalities."""
        aux = outputs.aux
        terms = {m: self.target_loss(aux[f"logits_{m}"], labels) for m in self.classifiers}
        distances = [F.mse_loss(aux[f"pooled_{m}"], aux[f"crossed_{m}"]) for m in self.intra]
        return terms | ({"ad": torch.stack(distances).sum()} if distances else {})

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Eq. 11."""
        weights = self.lambdas | {"ad": self.config.omega}
        return torch.stack([weights[m] * term for m, term in self.terms(outputs, labels).items()]).sum()


def preset(corpus: str) -> MCFNConfig:
    """Section 3.2; 50 epochs and 16 s of frames are our choices."""
    return MCFNConfig(steps=0, epochs=50.0, max_frames=1600)


SPEC = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "logmel-mcfn", "text": "roberta"},
    preset=preset,
    build=MCFN,
    ablations={
        "Speech only": Ablation(modalities=("audio",)),
        "Text only": Ablation(modalities=("text",)),
        "Bimodal": Ablation(
            settings={"lambda_s": 0.0, "lambda_t": 0.0, "omega": 0.0, "alpha": 0.0, "beta": 0.0, "gamma": 1.0}
        ),
        "w/o DAB": Ablation(settings={"dual_attention": False}),
        "w/o CMI": Ablation(settings={"excitement": False}),
        "w/o Intra-modal^s": Ablation(
            settings={"intra": "text", "lambda_s": 0.0, "alpha": 0.0, "beta": 3 / 7, "gamma": 4 / 7}
        ),
        "w/o Intra-modal^t": Ablation(
            settings={"intra": "audio", "lambda_t": 0.0, "alpha": 3 / 7, "beta": 0.0, "gamma": 4 / 7}
        ),
        "w/o MA": Ablation(settings={"omega": 0.0}),
    },
)

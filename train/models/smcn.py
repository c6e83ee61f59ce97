"""SMCN: Self-guided Modality Calibration Network.

M. Hou, Z. Zhang, G. Lu, "Multi-modal emotion recognition with self-guided modality calibration", ICASSP 2022.

Each modality i (a audio, t text; j is the other one) has three parts: an intra-modal branch, a calibration branch that
predicts the other modality's vector, and an interaction of the two. The modalities meet only in the last classifier.

Shapes: B batch, T time steps, hd hidden units, C classes.

    (1, 2)  H^i = biGRU(X^i)                          [B, T, 2hd]
    (3-6)   F^i = Attention(H^i)                      [B, 2hd], weights: softmax over m of tanh(W h_m + b) . u
    (7, 8)  p^i = softmax(head^i(F^i)),               Loss_i = cross-entropy
    (9)     H_1^i = biGRU(X^i)                        [B, T, 2hd], a second GRU
    (10)    F_c^i = Attention(H_1^i)                  [B, 2hd]
    (11)    Loss_ij = MSE(F^j, F_c^i)
    (12)    I_1^i = phi_1(H^i, H_1^i)                 [B, T, 2hd]
    (13)    I_1^i' = Attention(I_1^i)                 [B, 2hd]
    (14)    I_2^i = phi_2(I_1^i', F^i, F_c^i)         [B, 2hd]
    (15,16) p = softmax(head([I_2^a, I_2^t])),        Loss_p = cross-entropy
    (17)    Loss = Loss_p + Loss_a + Loss_t + Loss_at + Loss_ta

Misprints in the paper, and how they are read:
- Eq. 1, 2 and 9 are four bidirectional GRUs, not one.
- Eq. 3, 10 and 13 each have their own u, so there are six attentions.
- In eq. 14 the superscript i is missing; in eq. 15 W_p and b_p have one too many.

Open in the paper, and what is chosen:
- Eq. 11 divides by N only but is called a mean square error. It is the mean over samples and features (`mse`): a sum
  over 256 features would dominate the three cross-entropies.
- Gradients flow through the target of eq. 11, since no stop-gradient is printed (`detach_target` adds one).
- phi_1 and phi_2 are additions, as in the paper's experiments. `FUSIONS` lists the other choices.
- "Two linear layers" are 2hd -> hd -> C with a ReLU between them, and 4hd -> hd -> C in eq. 15. The attention width is
  2hd. There is no dropout.
- Adam; 2500 steps and 150 words (MELD: 2000 and 100). Utterances shorter than 500 frames are masked, not zero-padded.

Ablations of Table 3: Audio, Text and Cat are the baselines of these names. The other four keep eq. 17 and change the
input of eq. 15, which `classified` selects: `all` I_2, `intra` F, `inter` F_c, `first` I_1', `second` phi_2(F, F_c). A
module that would get no gradient is not built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import Ablation, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import AttentionPooling, BiGRU, by_modality, mlp, run_bigrus
from emofuse.train.models.config import SequenceConfig, setting

FUSIONS: Mapping[str, Callable[..., Tensor]] = {
    "add": lambda *x: reduce(torch.add, x),
    "multiply": lambda *x: reduce(torch.mul, x),
    "maximum": lambda *x: reduce(torch.maximum, x),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SMCNConfig(SequenceConfig):
    """The paper's hyper-parameters, and the choices where it is open."""

    hidden: int = setting(128)
    phi_1: str = setting("add", choices=tuple(FUSIONS))
    phi_2: str = setting("add", choices=tuple(FUSIONS))
    mse: str = setting("mean", choices=("mean", "sum"))
    detach_target: bool = setting(False)
    classified: str = setting("all", choices=("all", "intra", "inter", "first", "second"))

    def idle(self) -> dict[str, str]:
        """The interactions that do not reach eq. 15."""
        used = {"all": ("phi_1", "phi_2"), "first": ("phi_1",), "second": ("phi_2",)}.get(self.classified, ())
        return {phi: f"classified={self.classified}" for phi in ("phi_1", "phi_2") if phi not in used}


class SMCN(FusionModel):
    """The network; it needs both modalities."""

    def __init__(self, config: SMCNConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        hidden, width = config.hidden, 2 * config.hidden
        dimensions = {modality[0]: dimension for modality, dimension in inputs.dimensions.items()}
        self.intra_gru = nn.ModuleDict({i: BiGRU(d, hidden) for i, d in dimensions.items()})
        self.calibration_gru = nn.ModuleDict({i: BiGRU(d, hidden) for i, d in dimensions.items()})
        self.intra_attention = nn.ModuleDict({i: AttentionPooling(width) for i in dimensions})
        self.calibration_attention = nn.ModuleDict({i: AttentionPooling(width) for i in dimensions})
        interacts = dimensions if config.classified in ("all", "first") else ()
        self.interaction_attention = nn.ModuleDict({i: AttentionPooling(width) for i in interacts})
        self.intra_head = nn.ModuleDict({i: mlp(width, hidden, inputs.classes) for i in dimensions})
        self.fused_head = mlp(2 * width, hidden, inputs.classes)

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
        """Eq. 1-7, 9, 10, 12-15.

        For i = a, t `aux` holds F_i, Fc_i and I2_i [B, 2hd] and logits_i [B, C]; also fused, the input of eq. 15.
        """
        aux: dict[str, Tensor] = {}
        for modality, (x, lengths) in by_modality(audio, audio_lengths, text, text_lengths).items():
            i = modality[0]
            H, H1 = run_bigrus(x, lengths, [self.intra_gru[i], self.calibration_gru[i]])
            aux[f"F_{i}"] = self.intra_attention[i](H, lengths)
            aux[f"Fc_{i}"] = self.calibration_attention[i](H1, lengths)
            aux[f"logits_{i}"] = self.intra_head[i](aux[f"F_{i}"])
            aux[f"I2_{i}"] = self._interact(i, H, H1, aux[f"F_{i}"], aux[f"Fc_{i}"], lengths)
        aux["fused"] = torch.cat([aux["I2_a"], aux["I2_t"]], dim=1)
        return Outputs(logits=self.fused_head(aux["fused"]), aux=aux)

    def _interact(self, i: str, H: Tensor, H1: Tensor, f: Tensor, fc: Tensor, lengths: Tensor) -> Tensor:
        """The input of eq. 15 from one modality, [B, 2hd]: eq. 12-14, or what `classified` selects."""
        phi_1, phi_2 = FUSIONS[self.config.phi_1], FUSIONS[self.config.phi_2]
        match self.config.classified:
            case "intra":
                return f
            case "inter":
                return fc
            case "second":
                return phi_2(f, fc)
        first: Tensor = self.interaction_attention[i](phi_1(H, H1), lengths)
        return first if self.config.classified == "first" else phi_2(first, f, fc)

    def terms(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """The five terms of eq. 17: p, a, t, at, ta."""
        aux = outputs.aux
        terms = {"p": self.target_loss(outputs.logits, labels)}
        terms |= {i: self.target_loss(aux[f"logits_{i}"], labels) for i in "at"}
        return terms | {i + j: self._calibration(aux[f"F_{j}"], aux[f"Fc_{i}"]) for i, j in ("at", "ta")}

    def _calibration(self, target: Tensor, predicted: Tensor) -> Tensor:
        """Eq. 11, a scalar, of two vectors [B, 2hd]."""
        target = target.detach() if self.config.detach_target else target
        samples = len(target) if self.config.mse == "sum" else 1
        return F.mse_loss(predicted, target, reduction=self.config.mse) / samples

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Eq. 17."""
        return torch.stack(list(self.terms(outputs, labels).values())).sum()


def preset(corpus: str) -> SMCNConfig:
    """Section 3.2: 2500 steps and 150 words; 2000 and 100 on MELD."""
    return SMCNConfig(steps=2000, max_words=100) if corpus == "meld" else SMCNConfig()


SPEC = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "logmel", "text": "bert"},
    preset=preset,
    build=SMCN,
    ablations={
        "Audio": Ablation(model="audio"),
        "Text": Ablation(model="text"),
        "Cat": Ablation(model="concat"),
        "Intra-modal learning": Ablation(settings={"classified": "intra"}),
        "Inter-modal calibration": Ablation(settings={"classified": "inter"}),
        "First interaction": Ablation(settings={"classified": "first"}),
        "Second interaction": Ablation(settings={"classified": "second"}),
    },
)

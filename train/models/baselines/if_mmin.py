"""IF-MMIN: Invariant Feature aware Missing Modality Imagination Network.

H. Zuo, R. Liu, J. Zhao, G. Gao, H. Li, "Exploiting modality-invariant feature for robust multimodal emotion recognition
with missing modalities", ICASSP 2023. The paper's numbered equations were not available: this follows its authors'
public code (ZhuoYulang/IF-MMIN), as corrected in September 2024, which builds on MMIN (Zhao, Li and Jin, ACL 2021).

Shapes: B batch, T frames or words, w width, Z width of the code, K blocks, C classes; m is a modality. Both stages are
one training. A first network, the teacher, sees both modalities of every utterance:

    e_m = maximum over time of GRU(x), or linear(maximum over time of CNN(x))              [B, w]
    i_m = invariant(e_m), the same two layers for both modalities                          [B, w]
    logits = MLP([e_a, e_t, i_a, i_t])
    loss = cross-entropy + CMD(i_a, i_t): the central moment discrepancy of Zellinger et al. (ICLR 2017), five moments

The network itself starts from the teacher's encoders, which stay as they are from then on. In each utterance audio is
missing, or text, or none, equally often. A missing modality is one frame of zeros:

    e = [e_a, e_t],  i = [i_a, i_t],  r_0 = e                                              [B, 2 w]
    z_k = encoder_k(r_{k-1} + i),  r_k = decoder_k(z_k),  k = 1 ... K                      [B, Z], [B, 2 w]
    logits = MLP([z_1, ..., z_K])
    loss = cross-entropy + lambda_1 MSE(transition(r_K), teacher's e of what is missing, of zeros for what is not)
           + lambda_2 MSE(i, teacher's i of the complete utterance)

Differences from the code, and choices:
- Audio and text; the authors' third modality is video, which stores do not hold. Theirs lacks one or two modalities of
  three in every utterance; the pattern that the tables cite (audio and text without video) is here the complete one.
- A missing modality is zeros over the whole utterance in the code, so its length is known. One frame is the same for
  every utterance, and for `fit --score-without`.
- The bidirectional GRU that the models share, with w / 2 units each way, replaces a forward LSTM. Zero padding keeps
  the length in the CNN (kernels 3, 4 and 5 with 128 channels); the code reads padding.
- Dropout 0.5 before the text's linear layer and in both MLPs; the teacher's MLP has 0.3 in the code.
- Both stages are one schedule: 60 epochs of batch 128 at 2e-4, of which the teacher takes `teacher_share`; the code has
  20 epochs of batch 64, then 40 of batch 128. It lets the rate fall over the second half of each and clips gradients
  (`--set schedule=linear`, `--set clip=1`), and Adam's first decay is 0.5 in the second.
- lambda_1 and lambda_2 are 1, the defaults of the code; its script also passes a weight of 100 that nothing reads.
- 40 log-Mel bands and BERT instead of ComParE and BERT-large.
- The discrepancy compares the utterances of a batch: micro-batches, where memory is too small for a batch, change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.layers import (
    Batch,
    BiGRU,
    TimeConvolution,
    apply_dropout,
    by_modality,
    draw_dropout_mask,
    masked_max,
)
from emofuse.train.models.config import SequenceConfig, setting

TEXT_KERNELS = (3, 4, 5)
TEXT_CHANNELS = 128
MOMENTS = 5
EVALUATIONS_A_TRAINING = 10
Vectors = dict[str, Tensor]
"""Modality -> one vector per utterance [B, D], audio first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IFMMINConfig(SequenceConfig):
    """The sizes and weights of the authors' code."""

    width: int = setting(128)
    """Width w of the vector of a modality, and of the layers of the classifiers."""
    units: int = setting(64)
    """Width Z of the code of a block; two layers of 4 Z and 2 Z units lead to it."""
    blocks: int = setting(5)
    """K."""
    dropout: float = setting(0.5, positive=False, most=0.9)
    teacher_share: float = setting(0.33, most=0.9)
    """The share of the training steps, at its start, that train the teacher."""
    imagination: float = setting(1.0, positive=False)
    """lambda_1."""
    invariance: float = setting(1.0, positive=False)
    """lambda_2."""

    def problems(self, ablation: str | None) -> list[str]:
        """An odd width, and a patience that ends the training before or soon after the teacher's stage."""
        problems = []
        if self.width % 2:
            problems.append(f"width={self.width}: expected an even width, half of it for each direction of the GRU")
        first = int(EVALUATIONS_A_TRAINING * self.teacher_share)
        if 0 < self.patience <= first:
            problems.append(
                f"patience={self.patience}: expected at least {first + 1}, since the first {first} evaluations are in "
                f"the teacher's stage (teacher_share={self.teacher_share:g}), where validation does not improve"
            )
        return problems


def central_moment_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the distances of the means and of the central moments 2 to 5 of [B, D] and [B, D]: a scalar."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    distance: Tensor = torch.linalg.vector_norm(x_mean - y_mean)
    for order in range(2, MOMENTS + 1):
        moments = ((z - mean).pow(order).mean(0) for z, mean in ((x, x_mean), (y, y_mean)))
        distance = distance + torch.linalg.vector_norm(next(moments) - next(moments))
    return distance


class Encoders(nn.Module):
    """The vector e_m of each modality, and its invariant vector i_m."""

    def __init__(self, config: IFMMINConfig, inputs: Inputs) -> None:
        super().__init__()
        self.dimensions, self.dropout, width = inputs.dimensions, config.dropout, config.width
        self.gru = BiGRU(self.dimensions["audio"], width // 2)
        self.convolutions = nn.ModuleList(
            TimeConvolution(self.dimensions["text"], TEXT_CHANNELS, kernel) for kernel in TEXT_KERNELS
        )
        self.text = nn.Linear(TEXT_CHANNELS * len(TEXT_KERNELS), width)
        self.invariant_layers = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU()
        )

    def maxima(self, batch: Batch) -> Vectors:
        """The maximum over time of each modality's states: [B, w] of audio, [B, 384] of text."""
        found = {}
        for m, (x, lengths) in batch.items():
            if m == "audio":
                states = self.gru(x, lengths)
            else:
                states = F.relu(torch.cat([convolution(x, lengths) for convolution in self.convolutions], dim=2))
            found[m] = masked_max(states, lengths)
        return found

    def of_nothing(self) -> Vectors:
        """As `maxima`, of one frame of zeros: [1, D]."""
        one = torch.ones(1, dtype=torch.long)
        return self.maxima({m: (self.text.weight.new_zeros(1, 1, size), one) for m, size in self.dimensions.items()})

    def vectors(self, maxima: Vectors, keep: Tensor | None = None) -> Vectors:
        """e_m [B, w]; `keep` holds the text's dropout mask [1, B, 384], None in evaluation."""
        return maxima | {"text": F.relu(self.text(apply_dropout(maxima["text"], keep, 0, self.dropout)))}

    def invariant(self, vectors: Vectors) -> Vectors:
        """i_m [B, w]."""
        return {m: self.invariant_layers(x) for m, x in vectors.items()}


def joined(*vectors: Vectors) -> Tensor:
    """All vectors of all modalities side by side: [B, D] each -> [B, sum of D]."""
    return torch.cat([x for each in vectors for x in each.values()], dim=1)


class Imagination(nn.Module):
    """A cascade of K autoencoders; each reads what the one before it gives, and adds the invariant vectors."""

    def __init__(self, dimension: int, units: int, blocks: int) -> None:
        super().__init__()
        sizes = (dimension, 4 * units, 2 * units, units)
        self.encoders = nn.ModuleList(_layers(sizes, nn.LeakyReLU) for _ in range(blocks))
        self.decoders = nn.ModuleList(_layers(sizes[::-1], nn.ReLU) for _ in range(blocks))
        self.transition = _layers((dimension, dimension, dimension), nn.ReLU)

    def forward(self, vectors: Tensor, invariant: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 2 w] and [B, 2 w] -> the imagined vectors [B, 2 w], and the codes of all blocks [B, K Z]."""
        codes, given = [], vectors
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            codes.append(encoder(given + invariant))
            given = decoder(codes[-1])
        return self.transition(given), torch.cat(codes, dim=1)


def _layers(sizes: tuple[int, ...], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for size in pairwise(sizes):
        layers += [nn.Linear(*size), activation()]
    return nn.Sequential(*layers[:-1])


class Classifier(nn.Module):
    """Two layers with ReLU and dropout, then a linear one."""

    def __init__(self, dimension: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.hidden = nn.ModuleList(nn.Linear(size, width) for size in (dimension, width))
        self.output = nn.Linear(width, classes)

    def forward(self, x: Tensor, keep: Tensor | None) -> Outputs:
        """[B, D] -> logits, and the output's input as `fused`; `keep` holds the dropout masks [2, B, w]."""
        for i, layer in enumerate(self.hidden):
            x = apply_dropout(F.relu(layer(x)), keep, i, self.dropout)
        return Outputs(logits=self.output(x), aux={"fused": x})


class IFMMIN(FusionModel):
    """The network and its teacher; either modality may be absent at inference."""

    def __init__(self, config: IFMMINConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.encoders = Encoders(config, inputs)
        self.imagination = Imagination(2 * width, config.units, config.blocks)
        self.classifier = Classifier(config.blocks * config.units, width, inputs.classes, config.dropout)
        self.teacher = Encoders(config, inputs)
        self.teacher_classifier = Classifier(4 * width, width, inputs.classes, config.dropout)

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
        """The teacher's logits in the training steps of its stage, else the network's.

        In training, `aux` holds the further terms of the loss, each with its weight: scalars.
        """
        draws = draws or {}
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        if self.training and progress < self.config.teacher_share:
            return self._teach(batch, draws)
        missing = {m: draws["missing"].unsqueeze(1) == i for i, m in enumerate(batch)} if "missing" in draws else None
        maxima = self.encoders.maxima(batch)
        if missing is not None:
            maxima = _chosen(missing, self.encoders.of_nothing(), maxima)
        elif len(maxima) == 1:
            (seen,) = maxima.values()
            maxima = {m: maxima.get(m, x.expand(seen.shape[0], -1)) for m, x in self.encoders.of_nothing().items()}
        vectors = self.encoders.vectors(maxima, draws.get("text"))
        invariant = joined(self.encoders.invariant(vectors))
        imagined, codes = self.imagination(joined(vectors), invariant)
        outputs: Outputs = self.classifier(codes, draws.get("hidden"))
        if self.training:
            imagined_target, invariant_target = self._targets(batch, missing)
            outputs.aux["imagination"] = self.config.imagination * F.mse_loss(imagined, imagined_target)
            outputs.aux["invariance"] = self.config.invariance * F.mse_loss(invariant, invariant_target)
        return outputs

    def _teach(self, batch: Batch, draws: Mapping[str, Tensor]) -> Outputs:
        vectors = self.teacher.vectors(self.teacher.maxima(batch), draws.get("text"))
        invariant = self.teacher.invariant(vectors)
        outputs: Outputs = self.teacher_classifier(joined(vectors, invariant), draws.get("hidden"))
        outputs.aux["discrepancy"] = central_moment_discrepancy(*invariant.values())
        return outputs

    @torch.no_grad()
    def _targets(self, batch: Batch, missing: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The teacher's vectors of what is missing, of zeros for what is not; and its invariant vectors: [B, 2 w]."""
        full = self.teacher.vectors(self.teacher.maxima(batch))
        nothing = self.teacher.vectors(self.teacher.of_nothing())
        absent = {m: x.expand_as(full[m]) for m, x in nothing.items()}
        target = absent if missing is None else _chosen(missing, full, absent)
        return joined(target), joined(self.teacher.invariant(full))

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The network starts from the encoders of the teacher."""
        if progress < self.config.teacher_share:
            torch._foreach_copy_(list(self.encoders.parameters()), list(self.teacher.parameters()))

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Cross-entropy and, in training, the further terms of the stage."""
        terms = [x for name, x in outputs.aux.items() if name != "fused"]
        return torch.stack([self.target_loss(outputs.logits, labels), *terms]).sum()

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`missing` [B]: 0 audio, 1 text, 2 none; dropout masks of the text [1, B, 384] and the MLP [2, B, w]."""
        width, dropout = self.config.width, self.config.dropout
        return {
            "missing": torch.randint(3, (batch,), generator=generator, device=generator.device),
            "text": draw_dropout_mask((1, batch, self.encoders.text.in_features), dropout, generator),
            "hidden": draw_dropout_mask((2, batch, width), dropout, generator),
        }


def _chosen(where: Mapping[str, Tensor], x: Vectors, y: Vectors) -> Vectors:
    """x [B, D] or [1, D] where the mask of the modality [B, 1] is true, else y [B, D]."""
    return {m: torch.where(mask, x[m], y[m]) for m, mask in where.items()}


def preset(corpus: str) -> IFMMINConfig:
    """The authors' training, both stages together, for every corpus."""
    return IFMMINConfig(steps=0, epochs=60.0, lr=2e-4, batch=128, max_frames=750)


SPEC = ModelSpec(
    modalities=("audio", "text"),
    features={"audio": "logmel-mcfn", "text": "bert"},
    preset=preset,
    build=IFMMIN,
    optional=("audio", "text"),
)

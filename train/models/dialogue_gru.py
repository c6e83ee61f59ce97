"""A GRU over the utterances of a dialogue, on top of any representation of an utterance.

The contextual LSTM of Poria et al. (ACL 2017, section 3.2) with a GRU: each utterance of a dialogue becomes one vector
u_t, a recurrent network reads u_1 ... u_N in the order of the turns, and each of its states h_t is classified.

1. u_t: the representation of the utterance (`utterance`): the vector of `audio`, `text` or `concat` (`gru`: GRU and
   attention), the mean over time (`mean`), or what a fusion model hands to its last classifier (`smcn`, ...).
2. h_t = GRU(u_1 ... u_N)_t. `context=bidirectional` reads the whole dialogue: the turns after an utterance, which are
   not available while the dialogue is going on. `context=causal` reads the turns before it alone.
3. logits_t: two linear layers on [u_t, h_t].

The loss is the mean cross-entropy of the utterances; a fusion model adds its own loss, so that it trains as it does
alone. Our choices: [u_t, h_t] instead of h_t, so that the model can ignore the context; everything is trained together
(the paper trains u_t first and keeps it); no dropout. A batch is 4 dialogues: 38 utterances of MELD on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from emofuse.train.models import coattention, mcfn, msmser, smcn
from emofuse.train.models.base import Context, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.baselines import cme, gban, ks_transformer, lmf, mult, tfn
from emofuse.train.models.blocks.dialogues import Dialogues
from emofuse.train.models.blocks.layers import AttentionPooling, BiGRU, by_modality, masked_mean, mlp
from emofuse.train.models.config import SequenceConfig, setting

FUSION = {
    "smcn": smcn.SPEC,
    "mcfn": mcfn.SPEC,
    "msmser": msmser.SPEC,
    "coattention": coattention.SPEC,
    "cme": cme.SPEC,
    "gban": gban.SPEC,
    "ks-transformer": ks_transformer.SPEC,
    "mult": mult.SPEC,
    "lmf": lmf.SPEC,
    "tfn": tfn.SPEC,
}
"""The fusion models whose `aux["fused"]` represents an utterance; they have the sizes of their presets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueGRUConfig(SequenceConfig):
    """A batch counts dialogues."""

    batch: int = setting(4)
    utterance: str = setting("gru", choices=("gru", "mean", *FUSION))
    """How an utterance becomes a vector."""
    context: str = setting("bidirectional", choices=("bidirectional", "causal"))
    """`causal`: only the turns before an utterance are read."""
    hidden: int = setting(128)

    def modality_problems(self, modalities: Sequence[str]) -> list[str]:
        """A fusion model needs all its modalities."""
        needed = FUSION[self.utterance].modalities if self.utterance in FUSION else ()
        absent = [m for m in needed if m not in modalities]
        return [
            f"utterance={self.utterance} needs {' and '.join(needed)}, and no {m} is used: name a feature with --{m}, "
            "or choose utterance=gru or mean"
            for m in absent
        ]


class GRUUtterance(nn.Module):
    """The vector of `audio`, `text` or `concat`: GRU and attention for each modality, concatenated."""

    def __init__(self, config: DialogueGRUConfig, inputs: Inputs) -> None:
        super().__init__()
        self.gru = nn.ModuleDict({m: BiGRU(d, config.hidden) for m, d in inputs.dimensions.items()})
        self.attention = nn.ModuleDict({m: AttentionPooling(2 * config.hidden) for m in inputs.dimensions})
        self.width = 2 * config.hidden * len(inputs.dimensions)

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """[B, width]."""
        batch = by_modality(*inputs).items()
        return torch.cat([self.attention[m](self.gru[m](x, lengths), lengths) for m, (x, lengths) in batch], dim=1)


class MeanUtterance(nn.Module):
    """The mean over time of each modality, concatenated."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.width = sum(inputs.dimensions.values())

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """[B, width]."""
        return torch.cat([masked_mean(x, lengths) for x, lengths in by_modality(*inputs).values()], dim=1)


class DialogueGRU(FusionModel):
    """A GRU over the turns of each dialogue."""

    def __init__(self, config: DialogueGRUConfig, inputs: Inputs) -> None:
        super().__init__()
        self.fusion: FusionModel | None = None
        if config.utterance in FUSION:
            self.fusion, width = _fusion_model(config.utterance, inputs)
        else:
            self.utterance = GRUUtterance(config, inputs) if config.utterance == "gru" else MeanUtterance(inputs)
            width = self.utterance.width
        self.causal = config.context == "causal"
        self.context = nn.GRU(width, config.hidden, batch_first=True) if self.causal else BiGRU(width, config.hidden)
        self.head = mlp(width + config.hidden * (1 if self.causal else 2), config.hidden, inputs.classes)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """What the fusion model draws."""
        return {} if self.fusion is None else self.fusion.draw(batch, frames, words, generator)

    def forward(
        self,
        audio: Tensor | None,
        audio_lengths: Tensor | None,
        text: Tensor | None,
        text_lengths: Tensor | None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
        dialogues: Dialogues | None = None,
    ) -> Outputs:
        """Logits [B, C] of [u_t, h_t]; without `dialogues` each utterance is a dialogue by itself."""
        inputs, aux = (audio, audio_lengths, text, text_lengths), {}
        if self.fusion is None:
            u = self.utterance(*inputs)
        else:
            alone = self.fusion(*inputs, draws=draws, progress=progress)
            u, aux = alone.aux["fused"], alone.aux | {"utterance_logits": alone.logits}
        dialogues = dialogues or Dialogues.of_single_utterances(len(u), u.device)
        turns = dialogues.arranged(u)
        # Padding comes last, so a GRU that reads forwards never carries it into a turn.
        states = self.context(turns)[0] if self.causal else self.context(turns, dialogues.lengths)
        fused = torch.cat([u, dialogues.in_rows(states)], dim=1)
        return Outputs(logits=self.head(fused), aux=aux | {"fused": fused, "utterance": u})

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Cross-entropy, plus the loss of the fusion model, if there is one."""
        loss = self.target_loss(outputs.logits, labels)
        if self.fusion is None:
            return loss
        self.fusion.objective, self.fusion.class_weights = self.objective, self.class_weights
        self.fusion.criterion = self.criterion
        alone = Outputs(logits=outputs.aux["utterance_logits"], aux=outputs.aux | {"fused": outputs.aux["utterance"]})
        return loss + self.fusion.loss(alone, labels)


def _fusion_model(name: str, inputs: Inputs) -> tuple[FusionModel, int]:
    """A fusion model with the sizes of its preset, and the width of what it hands to its last classifier."""
    spec = FUSION[name]
    config: Any = spec.preset("")
    model = spec.build(config, inputs)
    with torch.device("meta"):
        sizes = [torch.empty(1, 1, d) for d in inputs.dimensions.values()]
        one = torch.ones(1, dtype=torch.int64)
        fused = spec.build(config, inputs).eval()(sizes[0], one, sizes[1], one).aux["fused"]
    return model, fused.shape[1]


def preset(corpus: str) -> DialogueGRUConfig:
    """The steps and words of `text` and `concat`."""
    return DialogueGRUConfig(steps=2000, max_words=100) if corpus == "meld" else DialogueGRUConfig()


def context(config: DialogueGRUConfig) -> Context:
    """Which turns are read."""
    return "before" if config.context == "causal" else "all"


SPEC = ModelSpec(
    modalities=("audio", "text"),
    needs="any",
    features={"audio": "logmel", "text": "bert"},
    preset=preset,
    build=DialogueGRU,
    context=context,
)

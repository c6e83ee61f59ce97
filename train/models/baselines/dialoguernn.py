"""DialogueRNN: states of the dialogue, of each speaker and of the emotion (Majumder et al., AAAI 2019).

Equations, in the paper's order; u_t is the utterance, s its speaker, [,] concatenation:

- global state: g_t = GRU_G(g_{t-1}, [u_t, q_{s,t-1}])
- context: alpha = softmax(u_t W_alpha [g_1 ... g_{t-1}]), c_t = alpha [g_1 ... g_{t-1}]^T; zero at the first turn
- speaker: q_{s,t} = GRU_P(q_{s,t-1}, [u_t, c_t])
- others, i != s: q_{i,t} = q_{i,t-1}; with `listener` (DialogueRNN_l) GRU_L(q_{i,t-1}, [u_t, q_{s,t}])
- emotion: e_t = GRU_E(e_{t-1}, q_{s,t})
- classes: softmax(W relu(W_l e_t + b_l) + b)
- BiDialogueRNN: a second network reads the dialogue from its end, and e_t is the concatenation of both.
- Att: beta = softmax(e_t W_beta [e_1 ... e_N]), and beta [e_1 ... e_N]^T is classified instead of e_t.

All states start at zero. The paper reads one vector per utterance, from a convolutional network that was trained on the
same labels; here it is the mean over time of the stored feature.

Sizes, learning rate, dropout and epochs are those of the public code (github.com/declare-lab/conv-emotion), which has a
script for each corpus. As in that code: dropout on g_t, q_t and e_t, again on e_t with 0.15 more, and on the hidden
layer; W_beta has a bias. About that code:

- Its listener reads [u_t, q_{s,t}], as here; the paper prints a visual cue of the listener and c_t.
- Its backward network reads the utterances from the end but the speakers from the start; here both from the end.
- It selects the epoch on the test side; here validation selects.
- Its loss on IEMOCAP weighs the classes: `--class-weights balanced`.

`attention=past` is ours: attention over e_1 ... e_t, which with `directions=one` reads nothing of the future.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.base import Ablation, Context, FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.blocks.dialogues import Dialogues
from emofuse.train.models.blocks.layers import apply_dropout, by_modality, draw_dropout_mask, masked_mean
from emofuse.train.models.config import Config, setting

EMOTION_DROPOUT = 0.15
"""How much more of the emotion states is dropped before they are classified than of the hidden layer."""
Keep = Mapping[str, Tensor]
"""Name of a state -> dropout mask by dialogue and turn [K, N, D]; empty in evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueRNNConfig(Config):
    """The public code's values for IEMOCAP; a batch counts dialogues."""

    steps: int = setting(0, positive=False)
    epochs: float = setting(60.0, positive=False)
    batch: int = setting(30)
    weight_decay: float = setting(1e-5, positive=False)
    directions: str = setting("two", choices=("one", "two"))
    """`two`: BiDialogueRNN."""
    attention: str = setting("all", choices=("none", "past", "all"))
    """Of an utterance over the emotion states of its dialogue."""
    listener: bool = setting(False)
    """Whether the states of the others change while one speaks."""
    width: int = setting(500)
    """Of the global state, of a speaker's state."""
    hidden: int = setting(500)
    """Of the emotion state, of the layer before the classes."""
    dropout: float = setting(0.1, positive=False, most=0.8)
    recurrent_dropout: float = setting(0.1, positive=False, most=0.9)

    def problems(self, ablation: str | None) -> list[str]:
        """Attention to the past alone is without a point where the states know the future."""
        if (self.directions, self.attention) == ("two", "past"):
            return ["directions=two reads the future already: choose directions=one, or attention=all"]
        return []


class Direction(nn.Module):
    """The recurrent networks, reading each dialogue in one direction."""

    def __init__(self, dimension: int, config: DialogueRNNConfig) -> None:
        super().__init__()
        self.width, self.hidden, self.dropout = config.width, config.hidden, config.recurrent_dropout
        self.global_cell = nn.GRUCell(dimension + config.width, config.width)
        self.party_cell = nn.GRUCell(dimension + config.width, config.width)
        self.listener_cell = nn.GRUCell(dimension + config.width, config.width) if config.listener else None
        self.emotion_cell = nn.GRUCell(config.width, config.hidden)
        self.match = nn.Linear(dimension, config.width, bias=False)

    def forward(self, u: Tensor, dialogues: Dialogues, keep: Keep) -> Tensor:
        """The emotion states [K, N, hidden] of utterances u [K, N, D]; those on padding are meaningless.

        Padding comes last, so no turn reads it.
        """
        speaking = dialogues.is_speaking().unsqueeze(3)
        g, e = u.new_zeros(len(u), self.width), u.new_zeros(len(u), self.hidden)
        q = u.new_zeros(len(u), dialogues.parties, self.width)
        query = self.match(u)
        history: list[Tensor] = []
        emotions: list[Tensor] = []
        for t in range(u.shape[1]):
            mine = speaking[:, t]
            own = (q * mine).sum(1)
            context = _attend(query[:, t], history) if history else torch.zeros_like(g)
            g = self._dropped(self.global_cell(torch.cat([u[:, t], own], dim=1), g), keep, "global", t)
            history.append(g)
            own = self._dropped(self.party_cell(torch.cat([u[:, t], context], dim=1), own), keep, "party", t)
            others = q if self.listener_cell is None else self._listen(u[:, t], own, q, keep, t)
            q = torch.where(mine, own.unsqueeze(1), others)
            e = self._dropped(self.emotion_cell(own, e), keep, "emotion", t)
            emotions.append(e)
        return torch.stack(emotions, dim=1)

    def _listen(self, u: Tensor, own: Tensor, q: Tensor, keep: Keep, t: int) -> Tensor:
        """The states [K, P, width] of all parties as listeners to u [K, D] of a speaker in state `own` [K, width]."""
        assert self.listener_cell is not None
        parties = q.shape[1]
        spoken = torch.cat([u, own], dim=1).repeat_interleave(parties, dim=0)
        changed: Tensor = self.listener_cell(spoken, q.flatten(0, 1)).unflatten(0, (-1, parties))
        if "listener" not in keep:
            return changed
        return apply_dropout(changed, keep["listener"][:, t : t + 1].expand_as(changed).unsqueeze(0), 0, self.dropout)

    def _dropped(self, state: Tensor, keep: Keep, name: str, t: int) -> Tensor:
        return apply_dropout(state, keep[name].transpose(0, 1) if keep else None, t, self.dropout)


def _attend(query: Tensor, history: list[Tensor]) -> Tensor:
    """The context [K, width]: the global states so far, each weighted by its product with the query [K, width]."""
    states = torch.stack(history, dim=1)
    weights = torch.softmax(torch.einsum("kd,ktd->kt", query, states), dim=1)
    return torch.einsum("kt,ktd->kd", weights, states)


class DialogueRNN(FusionModel):
    """DialogueRNN in one or two directions, with or without attention over the emotion states."""

    def __init__(self, config: DialogueRNNConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        dimension = sum(inputs.dimensions.values())
        self.directions = nn.ModuleList(
            Direction(dimension, config) for _ in range(2 if config.directions == "two" else 1)
        )
        width = config.hidden * len(self.directions)
        self.beta = nn.Linear(width, width) if config.attention != "none" else None
        self.hidden = nn.Linear(width, config.hidden * len(self.directions))
        self.classifier = nn.Linear(width, inputs.classes)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Dropout masks: of the recurrent states of each direction, of e_t, and of the hidden layer."""
        config, directions = self.config, len(self.directions)
        sizes = {"global": config.width, "party": config.width, "emotion": config.hidden}
        sizes |= {"listener": config.width} if config.listener else {}
        masks = {
            name: draw_dropout_mask((directions, batch, size), config.recurrent_dropout, generator)
            for name, size in sizes.items()
        }
        width = (1, batch, config.hidden * directions)
        masks["states"] = draw_dropout_mask(width, config.dropout + EMOTION_DROPOUT, generator)
        masks["hidden"] = draw_dropout_mask(width, config.dropout, generator)
        return masks

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
        """Logits [B, C]; without `dialogues` each utterance is a dialogue by itself."""
        batch = by_modality(audio, audio_lengths, text, text_lengths)
        u = torch.cat([masked_mean(x, lengths) for x, lengths in batch.values()], dim=1)
        dialogues = dialogues or Dialogues.of_single_utterances(len(u), u.device)
        draws = draws or {}
        states = []
        for number, direction in enumerate(self.directions):
            read = dialogues.reversed() if number else dialogues
            recurrent = ("global", "party", "emotion", "listener")
            keep = {name: read.arranged(draws[name][number]) for name in recurrent if name in draws}
            states.append(read.in_rows(direction(read.arranged(u), read, keep)))
        e = torch.cat(states, dim=1)
        e = apply_dropout(e, draws.get("states"), 0, self.config.dropout + EMOTION_DROPOUT)
        if self.beta is not None:
            e = dialogues.in_rows(self._attended(dialogues.arranged(e), dialogues, self.beta))
        hidden = apply_dropout(F.relu(self.hidden(e)), draws.get("hidden"), 0, self.config.dropout)
        return Outputs(logits=self.classifier(hidden), aux={"fused": hidden})

    def _attended(self, e: Tensor, dialogues: Dialogues, beta: nn.Linear) -> Tensor:
        """Att: [K, N, width] -> [K, N, width]."""
        readable = dialogues.mask.unsqueeze(1)
        if self.config.attention == "past":
            readable = readable & torch.ones_like(readable[:, 0, :, None] & readable[:, 0, None, :]).tril()
        scores = (beta(e) @ e.transpose(1, 2)).masked_fill(~readable, -torch.inf)
        return torch.softmax(scores, dim=2) @ e


def preset(corpus: str) -> DialogueRNNConfig:
    """The public code's script of the corpus."""
    if corpus == "meld":
        return DialogueRNNConfig(lr=5e-4, epochs=100.0, width=150, hidden=100)
    return DialogueRNNConfig()


def context(config: DialogueRNNConfig) -> Context:
    """Which turns are read."""
    return "before" if config.directions == "one" and config.attention != "all" else "all"


SPEC = ModelSpec(
    modalities=("audio", "text"),
    needs="any",
    features={"audio": "logmel", "text": "bert"},
    preset=preset,
    build=DialogueRNN,
    pool="mean",
    context=context,
    parties=True,
    ablations={
        "DialogueRNN": Ablation(settings={"directions": "one", "attention": "none"}),
        "DialogueRNN_l": Ablation(settings={"directions": "one", "attention": "none", "listener": True}),
        "BiDialogueRNN": Ablation(settings={"attention": "none"}),
        "DialogueRNN+Att": Ablation(settings={"directions": "one"}),
        "BiDialogueRNN+Att": Ablation(),
    },
)

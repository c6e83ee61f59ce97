"""The dialogues of a task: which utterances belong together, in which order, and who speaks.

A model with context reads, for an utterance, other utterances of its dialogue. Which ones is decided by batches: the
turns of a dialogue that are on the same side of the fold. So no step of a training reads an utterance of another side,
also where the folds cut a dialogue. Utterances without a class of the protocol, or without a feature, are no context:
published dialogue models drop them too (DialogueRNN's IEMOCAP features are of the utterances with the six classes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import raise_problems
from emofuse.common.output.console import plural
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.schema import Utterance
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.config import Config

CONTEXT = "context"
"""In metrics.json of a run: which turns its model reads, `before` an utterance or `all`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueTurns:
    """Of each of the n utterances of a task, its place in a dialogue."""

    dialogue: NDArray[np.int64]
    """[n], the number of the dialogue."""
    turn: NDArray[np.int64]
    """[n], the place in the dialogue, from 0."""
    speaker: NDArray[np.int64]
    """[n], the number of the speaker within the dialogue, from 0."""
    by_manifest: int = 0
    """How many dialogues have no turns and no times, and so the order of the manifest."""


def dialogue_turns(spec: ModelSpec, model: str, utterances: Sequence[Utterance]) -> DialogueTurns | None:
    """The dialogues of the utterances of a task; None for a model that reads each utterance alone.

    The order is that of the turns; without turns that of the start times in one recording; else that of the manifest.

    Raises:
        UsageError: An utterance without a dialogue or (where the model needs it) a speaker, or a dialogue where a turn
            is missing or is there twice; lists all.
    """
    if spec.context is None:
        return None
    members: dict[str | None, list[int]] = {}
    for index, utterance in enumerate(utterances):
        members.setdefault(utterance.dialogue, []).append(index)
    problems = _unknown(utterances, "dialogue")
    problems += _unknown(utterances, "speaker") if spec.parties else []
    problems += [] if problems else _turn_problems(members, utterances)
    raise_problems(problems, f"model {model} reads dialogues, which these utterances do not form")
    return _numbered(members, utterances)


def context_remarks(
    spec: ModelSpec,
    settings: Config,
    turns: DialogueTurns | None,
    folds: Sequence[Fold],
    every: Iterable[Utterance],
) -> list[str]:
    """What a user must know of the context: which turns are read, and which are not.

    Args:
        turns: Of the task.
        every: All utterances of the store.
    """
    if turns is None or spec.context is None:
        return []
    which = {"all": "before and after", "before": "before"}[spec.context(settings)]
    remarks = [f"context: the turns of the dialogue {which} an utterance, on the same side of the fold"]
    used = {u.id: u.dialogue for fold in folds for side in fold.sides.values() for u in side}
    names = set(used.values())
    other = sum(u.id not in used and u.dialogue in names for u in every)
    if other:
        remarks.append(f"context: {plural(other, 'other utterance')} of these dialogues, not in the task, not read")
    cut = set()
    for fold in folds:
        sides = Counter(name for side in fold.sides.values() for name in {u.dialogue for u in side})
        cut |= {name for name, count in sides.items() if count > 1}
    if cut:
        remarks.append(f"context: {plural(len(cut), 'dialogue')} cut by the folds; each side reads its own turns alone")
    if turns.by_manifest:
        remarks.append(
            f"context: {plural(turns.by_manifest, 'dialogue')} without turns or times, in the order of the manifest"
        )
    return remarks


def _unknown(utterances: Sequence[Utterance], attribute: str) -> list[str]:
    unknown = [u.id for u in utterances if getattr(u, attribute) is None]
    return (
        [
            f"the {attribute} of {len(unknown)} of {plural(len(utterances), 'utterance')} is unknown, "
            f"{', '.join(unknown[:3])} first: add a column {attribute} to the manifest, or choose another model"
        ]
        if unknown
        else []
    )


def _turn_problems(members: Mapping[str | None, list[int]], utterances: Sequence[Utterance]) -> list[str]:
    """Dialogues whose order the turns do not give."""
    problems = []
    for name, indices in members.items():
        turns = Counter(utterances[i].turn for i in indices)
        if 0 < turns[None] < len(indices):
            without = next(utterances[i].id for i in indices if utterances[i].turn is None)
            problems.append(
                f"dialogue {name}: {turns[None]} of {len(indices)} utterances have no turn, {without} first: "
                "number all of them, or none"
            )
        twice = [turn for turn, count in turns.items() if turn is not None and count > 1]
        if twice:
            ids = [utterances[i].id for i in indices if utterances[i].turn == twice[0]]
            problems.append(f"dialogue {name}: turn {twice[0]} is there {len(ids)} times: {', '.join(ids[:3])}")
    more = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
    return problems[:5] + more


def _numbered(members: Mapping[str | None, list[int]], utterances: Sequence[Utterance]) -> DialogueTurns:
    dialogue, turn, speaker = (np.zeros(len(utterances), np.int64) for _ in range(3))
    by_manifest = 0
    for number, indices in enumerate(members.values()):
        values = _order_values([utterances[i] for i in indices])
        by_manifest += values is None and len(indices) > 1
        order = np.array(indices) if values is None else np.array(indices)[np.argsort(values, kind="stable")]
        names = list(dict.fromkeys(utterances[i].speaker for i in order.tolist()))
        dialogue[order], turn[order] = number, np.arange(len(order))
        speaker[order] = [names.index(utterances[i].speaker) for i in order.tolist()]
    return DialogueTurns(dialogue=dialogue, turn=turn, speaker=speaker, by_manifest=by_manifest)


def _order_values(members: Sequence[Utterance]) -> list[float] | None:
    """What a dialogue is sorted by; None leaves the order of the manifest."""
    turns = [u.turn for u in members if u.turn is not None]
    if turns:
        return [float(turn) for turn in turns]
    starts = [u.start for u in members if u.start is not None]
    one_recording = len({u.audio for u in members}) == 1
    return starts if one_recording and len(starts) == len(members) else None

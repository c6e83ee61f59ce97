"""Batches of dialogues: of each dialogue, the turns among the utterances that are batched, and no others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from emofuse.train.data.ragged import Indices, to_device
from emofuse.train.models.blocks.dialogues import Dialogues
from emofuse.train.resolve.dialogues import DialogueTurns


def by_dialogue(turns: DialogueTurns, indices: Indices) -> list[Indices]:
    """The places in `indices` [n] of each dialogue's utterances, in the order of their turns.

    A training batch may have a dialogue twice, at the end of one pass and the start of the next: these are two.
    """
    place = np.lexsort((turns.turn[indices], turns.dialogue[indices]))
    first = np.flatnonzero(np.diff(indices[place], prepend=-1))
    occurrence = np.zeros_like(place)
    occurrence[place] = np.arange(len(place)) - np.repeat(first, np.diff(first, append=len(place)))
    order = np.lexsort((turns.turn[indices], occurrence, turns.dialogue[indices]))
    begins = np.diff(turns.dialogue[indices][order]).astype(bool) | np.diff(occurrence[order]).astype(bool)
    return np.split(order, np.flatnonzero(begins) + 1)


def in_batch(turns: DialogueTurns, indices: Indices, device: torch.device) -> Dialogues:
    """The dialogues of a batch of utterances `indices` [B]."""
    members = by_dialogue(turns, indices)
    lengths = np.array([len(rows) for rows in members])
    rows, speakers = (np.zeros((len(members), lengths.max()), np.int64) for _ in range(2))
    places = np.zeros(len(indices), np.int64)
    for number, of_dialogue in enumerate(members):
        rows[number, : len(of_dialogue)] = of_dialogue
        speakers[number, : len(of_dialogue)] = turns.speaker[indices[of_dialogue]]
        places[of_dialogue] = number * rows.shape[1] + np.arange(len(of_dialogue))
    rows_, places_, lengths_, speakers_ = (
        to_device(torch.from_numpy(values), device) for values in (rows, places, lengths, speakers)
    )
    return Dialogues(rows=rows_, places=places_, lengths=lengths_, speakers=speakers_, parties=int(speakers.max()) + 1)


def whole_dialogues(turns: DialogueTurns, indices: Indices, lengths: Indices, most: int) -> Iterator[Indices]:
    """All of `indices`, each dialogue in one batch, those with the longest utterances first.

    Args:
        lengths: The frames and words of every utterance of the task.
        most: Frames and words of a batch, padding included; a single dialogue may have more.
    """
    members = [indices[rows] for rows in by_dialogue(turns, indices)]
    longest = np.array([lengths[rows].max() for rows in members])
    batch: list[Indices] = []
    utterances = padded = 0
    for number in np.argsort(-longest, kind="stable").tolist():
        rows = members[number]
        padded = padded or longest[number]
        if batch and (utterances + len(rows)) * padded > most:
            yield np.concatenate(batch)
            batch, utterances, padded = [], 0, longest[number]
        batch.append(rows)
        utterances += len(rows)
    yield np.concatenate(batch)

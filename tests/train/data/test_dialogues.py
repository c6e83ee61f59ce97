"""Batches of dialogues: whole, in order, of the utterances that are asked for and no others."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch

from emofuse.train.data.batches import TaskData
from emofuse.train.data.dialogues import by_dialogue, in_batch, whole_dialogues
from emofuse.train.data.ragged import RaggedModality
from emofuse.train.resolve.dialogues import DialogueTurns

# Dialogues 0 to 3 with 3, 2, 4 and 1 turns; the utterances are mixed.
DIALOGUE = np.array([2, 0, 1, 2, 0, 3, 2, 1, 0, 2])
TURN = np.array([1, 2, 0, 0, 0, 0, 3, 1, 1, 2])
SPEAKER = np.array([1, 0, 0, 0, 0, 0, 2, 1, 1, 0])
TURNS = DialogueTurns(dialogue=DIALOGUE, turn=TURN, speaker=SPEAKER)
CPU = torch.device("cpu")


def data() -> TaskData:
    lengths = torch.tensor([3, 1, 2, 5, 1, 2, 2, 1, 4, 1])
    starts = lengths.cumsum(0) - lengths
    values = torch.arange(int(lengths.sum()), dtype=torch.float32).unsqueeze(1)
    text = RaggedModality(values=values, starts=starts, lengths=lengths, device=CPU)
    return TaskData(modalities={"text": text}, labels=torch.arange(10), statistics={}, dialogues=TURNS)


def test_the_turns_of_each_dialogue_in_order() -> None:
    indices = np.array([9, 5, 6, 4, 1])
    assert [indices[rows].tolist() for rows in by_dialogue(TURNS, indices)] == [[4, 1], [9, 6], [5]]


def test_a_dialogue_that_a_batch_has_twice_is_two_dialogues() -> None:
    indices = np.array([4, 1, 7, 8, 4, 1, 8])
    assert [indices[rows].tolist() for rows in by_dialogue(TURNS, indices)] == [[4, 8, 1], [4, 8, 1], [7]]
    assert in_batch(TURNS, indices, CPU).lengths.tolist() == [3, 3, 1]


def test_a_batch_is_arranged_by_dialogue_and_back() -> None:
    indices = np.array([9, 5, 6, 4, 1, 0])
    found = in_batch(TURNS, indices, CPU)
    values = torch.from_numpy(indices).unsqueeze(1).double() + 1
    assert found.arranged(values)[..., 0].tolist() == [[5, 2, 0], [1, 10, 7], [6, 0, 0]]
    assert found.speakers.tolist() == [[0, 0, 0], [1, 0, 2], [0, 0, 0]]
    assert (found.lengths.tolist(), found.parties) == ([2, 3, 1], 3)
    torch.testing.assert_close(found.in_rows(found.arranged(values)), values)
    mirrored = found.reversed()
    assert mirrored.arranged(values)[..., 0].tolist() == [[2, 5, 0], [7, 10, 1], [6, 0, 0]]
    assert mirrored.speakers.tolist() == [[0, 0, 0], [2, 0, 1], [0, 0, 0]]
    torch.testing.assert_close(mirrored.in_rows(mirrored.arranged(values)), values)


def test_training_batches_are_whole_dialogues_of_the_training_side() -> None:
    side = np.array([0, 1, 2, 3, 4, 7, 8, 9])  # dialogue 2 without its last turn, no dialogue 3
    batches = list(islice(data().training_batches(side, 2, np.random.default_rng(0)), 30))
    for batch in batches:
        assert set(batch.tolist()) <= set(side.tolist())
        for number in set(DIALOGUE[batch].tolist()):
            whole = [i for i in side.tolist() if DIALOGUE[i] == number]
            found = batch[DIALOGUE[batch] == number].tolist()
            assert sorted(found) == sorted(whole * (len(found) // len(whole)))
    drawn = [DIALOGUE[batch[rows[0]]] for batch in batches for rows in by_dialogue(TURNS, batch)]
    assert np.bincount(drawn).tolist() == [20, 20, 20]
    assert data().examples(side) == 3


def test_evaluation_batches_are_whole_dialogues() -> None:
    lengths = data().sort_lengths()
    for most in (1, 12, 1000):
        batches = list(whole_dialogues(TURNS, np.arange(10), lengths, most))
        assert sorted(np.concatenate(batches).tolist()) == list(range(10))
        numbers = [set(DIALOGUE[batch].tolist()) for batch in batches]
        assert sum(map(len, numbers)) == 4
        assert all(len(n) == 1 or len(b) * lengths[b].max() <= most for n, b in zip(numbers, batches, strict=True))
    assert len(list(data().evaluation_batches(np.arange(10)))) == 1


def test_micro_batches_do_not_cut_a_dialogue() -> None:
    indices = np.array([9, 5, 6, 4, 1, 0, 3])
    pieces = data().micro_batches(indices, 1)
    assert [sorted(indices[rows].tolist()) for rows in pieces] == [[1, 4], [0, 3, 6, 9], [5]]
    assert sorted(np.concatenate(data().micro_batches(indices, 2)).tolist()) == list(range(7))

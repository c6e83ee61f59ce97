"""The permutations of sanity runs: inside their sides, complete, repeatable."""

from __future__ import annotations

import numpy as np
import torch

from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import RaggedModality
from emofuse.train.fitting.shuffle import shuffled

SIDES = {"train": np.arange(0, 60), "validation": np.arange(60, 80), "test": np.arange(80, 99)}
UNUSED = 99


def data() -> TaskData:
    """100 utterances of 1 to 4 frames; every frame of utterance i is i."""
    lengths = torch.arange(100) % 4 + 1
    return TaskData(
        modalities={
            modality: RaggedModality(
                values=torch.arange(100.0).repeat_interleave(lengths).unsqueeze(1),
                starts=lengths.cumsum(0) - lengths,
                lengths=lengths,
            )
            for modality in ("audio", "text")
        },
        labels=torch.arange(100),
        statistics={},
    )


def owners(found: TaskData, modality: str) -> list[int]:
    """For each utterance the one whose frames it has; all its frames are of that one, and it has all of them."""
    values, lengths = found.modalities[modality].gather(np.arange(100))
    seen = values[:, 0, 0].long().tolist()
    for row, owner, length in zip(values.tolist(), seen, lengths.tolist(), strict=True):
        assert [int(v[0]) for v in row[:length]] == [owner] * (owner % 4 + 1)
    return seen


def test_a_dealt_modality_stays_on_its_side_and_leaves_every_utterance() -> None:
    found = shuffled(data(), ["audio"], SIDES, seed=0, fold=1)
    audio = owners(found, "audio")
    for members in SIDES.values():
        given = [audio[i] for i in members.tolist()]
        assert sorted(given) == members.tolist()
        assert all(owner != own for owner, own in zip(given, members.tolist(), strict=True))
    assert audio[UNUSED] == UNUSED
    assert owners(found, "text") == list(range(100))
    assert found.labels.tolist() == list(range(100))


def test_labels_are_permuted_in_training_and_in_validation_and_stay_on_test() -> None:
    found = shuffled(data(), ["labels"], SIDES, seed=0, fold=1)
    labels = found.labels.numpy()
    for name in ("train", "validation"):
        assert sorted(labels[SIDES[name]]) == SIDES[name].tolist()
        assert (labels[SIDES[name]] != SIDES[name]).mean() > 0.8
    assert labels[80:].tolist() == list(range(80, 100))
    assert owners(found, "audio") == list(range(100))


def test_equal_seeds_give_equal_permutations_and_others_do_not() -> None:
    every = [
        owners(shuffled(data(), ["audio", "text"], SIDES, seed=seed, fold=fold), modality)
        for seed, fold in ((0, 1), (0, 2), (1, 1))
        for modality in ("audio", "text")
    ]
    assert len({tuple(one) for one in every}) == 6
    assert owners(shuffled(data(), ["audio", "text"], SIDES, seed=0, fold=1), "text") == every[1]
    assert owners(shuffled(data(), ["text"], SIDES, seed=0, fold=1), "text") == every[1], "whatever else is shuffled"


def test_a_side_of_one_utterance_keeps_it() -> None:
    alone = {"train": np.arange(0, 98), "validation": np.array([98]), "test": np.array([99])}
    assert owners(shuffled(data(), ["audio"], alone, seed=0, fold=1), "audio")[98:] == [98, 99]

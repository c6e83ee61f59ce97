"""Sanity runs: the data of a fold with its labels permuted, or with a modality dealt to other utterances.

Permuted labels: those of the training side and those of the validation side, each among themselves. Neither the
training nor the selection sees the class of any utterance then, so the score must be at chance; the labels of the test
side stay. (With true labels on validation, selection alone would lift the score above chance.)

A dealt modality: on each side, every utterance gets the features of another one of that side, so the modality says
nothing of the class on any side and no features leave their side. The score must be that of the other modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices

_NUMBER = {"labels": 0, "audio": 1, "text": 2}
"""What can be shuffled -> its part of the seed."""


def shuffled(data: TaskData, shuffle: Sequence[str], sides: Mapping[str, Indices], seed: int, fold: int) -> TaskData:
    """The data of a fold, shuffled; equal arguments give equal permutations, in any process.

    Args:
        data: Of all n utterances.
        shuffle: Labels, or modalities of the data.
        sides: `train`, `validation` and `test`, each the indices of its utterances.
        seed: Of the run.
        fold: The fold's number.
    """
    for what in shuffle:
        generator = np.random.default_rng([seed, fold, _NUMBER[what]])
        source = np.arange(len(data.labels))
        for name, members in sides.items():
            if what != "labels":
                source[members] = _dealt(members, generator)
            elif name != "test":
                source[members] = generator.permutation(members)
        if what == "labels":
            data = replace(data, labels=data.labels[torch.from_numpy(source).to(data.labels.device)])
        else:
            modalities = {**data.modalities, what: data.modalities[what].select(source)}
            data = replace(data, modalities=modalities)
    return data


def _dealt(members: Indices, generator: np.random.Generator) -> Indices:
    """[n], for each of `members` another one of them, by a random cycle; a single one keeps its own."""
    order = generator.permutation(len(members))
    dealt = np.empty_like(members)
    dealt[order] = members[np.roll(order, 1)]
    return dealt

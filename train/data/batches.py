"""From the modalities of a task, ragged in memory, to padded batches of utterances of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emofuse.manifests.targets.target import Truth
from emofuse.train.data.dialogues import by_dialogue, in_batch, whole_dialogues
from emofuse.train.data.ragged import Indices, RaggedModality, to_device
from emofuse.train.models.blocks.dialogues import Dialogues
from emofuse.train.resolve.dialogues import DialogueTurns

EVALUATION_FRAMES = {"cpu": 4000, "cuda": 200_000}
"""Frames and words of an evaluation batch, padding included; a CPU's cache holds no more."""
WINDOW_BATCHES = 16
"""How many training batches, at most, are sorted by length together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The inputs of a model and their classes."""

    inputs: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
    """Audio [B, T, ...], audio lengths [B], text [B, T, ...], text lengths [B]; None for a missing modality."""
    labels: Tensor
    """The true values [B], or [B, K]."""
    dialogues: Dialogues | None = None
    """Of models with context."""

    @property
    def context(self) -> dict[str, Dialogues]:
        """The further argument of models with context."""
        return {} if self.dialogues is None else {"dialogues": self.dialogues}


Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Modality -> mean [D] and standard deviation [D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """Features and true values of every utterance of the task; batches are gathered by the index of the utterance."""

    modalities: Mapping[str, RaggedModality]
    labels: Tensor
    """The true values, on the device: class numbers [n], or float [n, K] where the target is not one class."""
    standardised: tuple[str, ...] = ()
    """Modalities that are standardised by the statistics of each fold's training side."""
    statistics: Statistics | None = None
    """Set by `with_statistics` or `with_statistics_of`; `batch` needs them."""
    dialogues: DialogueTurns | None = None
    """Of models with context, whose batches are whole dialogues: of each, those turns that are to be batched."""

    def with_statistics_of(self, train: Indices) -> TaskData:
        """The same data, standardised by the statistics of the utterances `train` only."""
        return self.with_statistics({m: self.modalities[m].statistics(train) for m in self.standardised})

    def with_statistics(self, statistics: Statistics) -> TaskData:
        """The same data, standardised by the given statistics."""
        return replace(self, statistics=statistics)

    def without(self, modality: str) -> TaskData:
        """The same data without one modality."""
        return replace(self, modalities={m: buffer for m, buffer in self.modalities.items() if m != modality})

    def batch(self, indices: Indices) -> Batch:
        """Gather utterances into one padded batch.

        Raises:
            ValueError: The statistics are not set.
        """
        if self.statistics is None:
            raise ValueError("set the statistics before the first batch: with_statistics_of(train)")
        inputs: list[Tensor | None] = []
        for modality in ("audio", "text"):
            buffer = self.modalities.get(modality)
            inputs += [None, None] if buffer is None else buffer.gather(indices, self.statistics.get(modality))
        audio, audio_lengths, text, text_lengths = inputs
        labels = self.labels[to_device(torch.from_numpy(indices), self.labels.device)]
        dialogues = None if self.dialogues is None else in_batch(self.dialogues, indices, labels.device)
        return Batch(inputs=(audio, audio_lengths, text, text_lengths), labels=labels, dialogues=dialogues)

    @property
    def unit(self) -> str:
        """What a batch counts."""
        return "utterance" if self.dialogues is None else "dialogue"

    def examples(self, indices: Indices) -> int:
        """How many of what a batch counts `indices` are: utterances, or dialogues."""
        return len(indices) if self.dialogues is None else len(by_dialogue(self.dialogues, indices))

    def micro_batches(self, indices: Indices, size: int) -> list[Indices]:
        """The row numbers of a batch `indices` in pieces of at most `size` utterances, or dialogues, each."""
        if self.dialogues is None:
            return split_evenly(np.arange(len(indices)), size)
        rows = by_dialogue(self.dialogues, indices)
        return [np.concatenate([rows[i] for i in piece]) for piece in split_evenly(np.arange(len(rows)), size)]

    def sort_lengths(self) -> Indices:
        """[n], the lengths that batches are sorted by: of the audio; of the text where there is no audio."""
        buffer = self.modalities.get("audio") or self.modalities["text"]
        return buffer.lengths.numpy()

    def evaluation_batches(self, indices: Indices) -> Iterator[Indices]:
        """All of `indices`, longest first, in batches with little padding; a dialogue is in one batch."""
        max_frames = EVALUATION_FRAMES.get(self.labels.device.type, EVALUATION_FRAMES["cpu"])
        total_lengths = np.sum([buffer.lengths.numpy() for buffer in self.modalities.values()], axis=0)
        if self.dialogues is not None:
            yield from whole_dialogues(self.dialogues, indices, total_lengths, max_frames)
            return
        ordered = indices[np.argsort(-self.sort_lengths()[indices], kind="stable")]
        first = longest = 0
        for end, length in enumerate(total_lengths[ordered].tolist()):
            longest = max(longest, length)
            if end > first and (end - first + 1) * longest > max_frames:
                yield ordered[first:end]
                first, longest = end, length
        if first < len(ordered):
            yield ordered[first:]

    def training_batches(
        self, indices: Indices, size: int, generator: np.random.Generator, groups: Indices | None = None
    ) -> Iterator[Indices]:
        """Endless batches of `indices` [n], as `batches_by_length` makes them; of dialogues by their count of turns."""
        if self.dialogues is None:
            return batches_by_length(self.sort_lengths(), indices, size, generator, groups)
        members = [indices[rows] for rows in by_dialogue(self.dialogues, indices)]
        turns = np.array([len(rows) for rows in members])
        batches = batches_by_length(turns, np.arange(len(members)), size, generator)
        return (np.concatenate([members[i] for i in batch]) for batch in batches)


def split_evenly(rows: Indices, size: int) -> list[Indices]:
    """`rows` [n] in pieces of at most `size`, as equal as possible."""
    return np.array_split(rows, -(-len(rows) // size))


def truth_tensor(truth: Truth) -> Tensor:
    """True values as a tensor: class numbers as int64, everything else as float32."""
    return torch.from_numpy(truth if truth.ndim == 1 else truth.astype(np.float32))


def batches_by_length(
    lengths: Indices,
    indices: Indices,
    size: int,
    generator: np.random.Generator,
    groups: Indices | None = None,
) -> Iterator[Indices]:
    """Endless batches of equal size, each of utterances of similar length.

    Every pass shuffles all utterances again, so each occurs once per pass. A window of that order (at most a quarter
    of a pass, at most 16 batches) is sorted by length and cut into batches, whose order is shuffled too.

    Args:
        lengths: The length of whatever `indices` may name.
        indices: [n], the utterances.
        size: Utterances in a batch.
        generator: Draws the order.
        groups: [n], the number of each utterance's group: a pass then has n utterances too, as many of each group.
    """
    size = min(size, len(indices))
    window_size = size * max(1, min(WINDOW_BATCHES, len(indices) // (4 * size)))
    pending = np.zeros(0, np.int64)
    while True:
        while len(pending) < window_size:
            balanced = indices if groups is None else balanced_pass(indices, groups, generator)
            pending = np.concatenate([pending, generator.permutation(balanced)])
        window, pending = pending[:window_size], pending[window_size:]
        batches = window[np.argsort(lengths[window], kind="stable")].reshape(-1, size)
        yield from generator.permutation(batches)


def balanced_pass(indices: Indices, groups: Indices, generator: np.random.Generator) -> Indices:
    """[n] of `indices` [n], equally many of each of G groups; where G does not divide n, random groups have one more.

    A group repeats its members only after all of them.
    """
    numbers = np.unique(groups)
    counts = np.full(len(numbers), len(indices) // len(numbers))
    counts[generator.permutation(len(numbers))[: len(indices) % len(numbers)]] += 1
    chosen = []
    for number, count in zip(numbers, counts.tolist(), strict=True):
        members = generator.permutation(indices[groups == number])
        chosen.append(np.resize(members, count))
    return np.concatenate(chosen)

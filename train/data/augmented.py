"""The training side of a fold with augmented copies of its own utterances.

Validation and test read `TaskData`, which has no copies. Copies are in `AugmentedData` alone, which is made of the
training side and has no row of any other utterance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from emofuse.train.data.batches import Batch, TaskData, batches_by_length, split_evenly
from emofuse.train.data.ragged import Indices, RaggedModality, to_device


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBuffers:
    """One augmented copy of the utterances that have it."""

    utterances: Indices
    """[n], which of the task's utterances have the copy."""
    audio: RaggedModality
    """The copy's values of these utterances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentedData:
    """Training examples: the utterances of a training side, and their copies with the same text and label."""

    sources: tuple[TaskData, ...]
    """The fold's own data, then one for each copy."""
    source: Indices
    """[n], which of `sources` has each example."""
    row: Indices
    """[n], the example's index there."""
    original: Indices
    """[n], the place on the training side of the utterance that the example is, or is a copy of."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def labels(self) -> Tensor:
        """Labels of the fold's own data; the device of batches is theirs."""
        return self.sources[0].labels

    def batch(self, indices: Indices) -> Batch:
        """Gather examples [B] into one padded batch, in the order of `indices`."""
        order = np.argsort(self.source[indices], kind="stable")
        of_source = ((s, self.row[indices[self.source[indices] == k]]) for k, s in enumerate(self.sources))
        return _joined([source.batch(rows) for source, rows in of_source if len(rows)], np.argsort(order))

    @property
    def unit(self) -> str:
        """What a batch counts."""
        return "utterance"

    def examples(self, indices: Indices) -> int:
        """How many of what a batch counts `indices` are."""
        return len(indices)

    def micro_batches(self, indices: Indices, size: int) -> list[Indices]:
        """The row numbers of a batch `indices` in pieces of at most `size` each."""
        return split_evenly(np.arange(len(indices)), size)

    def training_batches(
        self, size: int, generator: np.random.Generator, groups: Indices | None = None
    ) -> Iterator[Indices]:
        """Endless batches, as `batches_by_length` makes them; `groups` are those of the training side's utterances."""
        of_examples = None if groups is None else groups[self.original]
        lengths = np.zeros(len(self), np.int64)
        for k, source in enumerate(self.sources):
            lengths[self.source == k] = source.sort_lengths()[self.row[self.source == k]]
        return batches_by_length(lengths, np.arange(len(self)), size, generator, of_examples)


def with_copies(data: TaskData, training: Indices, copies: Sequence[CopyBuffers]) -> AugmentedData:
    """The utterances `training`, and each of their copies as a further example.

    Args:
        data: The fold's, standardised by the statistics of `training` without the copies.
        training: [n], the fold's training side.
        copies: Of any utterances of the task; those of other sides are left out.
    """
    sources, source, row = [data], [np.zeros_like(training)], [training]
    place = {utterance: i for i, utterance in enumerate(training.tolist())}
    original = [np.arange(len(training))]
    for number, copy in enumerate(copies, 1):
        own = {m: buffer.select(copy.utterances) for m, buffer in data.modalities.items() if m != "audio"}
        labels = data.labels[torch.from_numpy(copy.utterances).to(data.labels.device)]
        sources.append(replace(data, modalities={**own, "audio": copy.audio}, labels=labels))
        rows = np.flatnonzero(np.isin(copy.utterances, training))
        source.append(np.full(len(rows), number, np.int64))
        row.append(rows)
        original.append(np.array([place[i] for i in copy.utterances[rows].tolist()], np.int64))
    return AugmentedData(
        sources=tuple(sources),
        source=np.concatenate(source),
        row=np.concatenate(row),
        original=np.concatenate(original),
    )


def _joined(batches: Sequence[Batch], order: Indices) -> Batch:
    """Several batches as one, padded to the longest, with their rows in `order` [B]."""
    if len(batches) == 1:
        return batches[0]
    audio, audio_lengths, text, text_lengths = zip(*(batch.inputs for batch in batches), strict=True)
    joined = (_padded(audio), _concatenated(audio_lengths), _padded(text), _concatenated(text_lengths))
    labels = torch.cat([batch.labels for batch in batches])
    rows = to_device(torch.from_numpy(order), labels.device)
    a, b, c, d = (None if tensor is None else tensor[rows] for tensor in joined)
    return Batch(inputs=(a, b, c, d), labels=labels[rows])


def _padded(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """[B, T, ...] of tensors [B_i, T_i, ...]; None where a modality is missing."""
    present = [tensor for tensor in tensors if tensor is not None]
    longest = max((tensor.shape[1] for tensor in present), default=0)
    widened = [pad(t, (0, 0) * (t.dim() - 2) + (0, longest - t.shape[1])) for t in present]
    return torch.cat(widened) if widened else None


def _concatenated(lengths: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in lengths if tensor is not None]
    return torch.cat(present) if present else None

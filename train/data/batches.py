"""From modalities that lie ragged in memory (`resident`) to padded batches, in an order of similar lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emofuse.train.data.ragged import Indices, ModalityBuffer, sent

EVALUATION_FRAMES = {"cpu": 4000, "cuda": 200_000}
"""Frames and words of a batch that is only looked at, padding included: more leaves a processor's cache."""
WINDOW_BATCHES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a model is called with, and the classes [B]."""

    inputs: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
    labels: Tensor


Statistics = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """Every utterance of the task, ready to be gathered by its index."""

    modalities: Mapping[str, ModalityBuffer]
    labels: Tensor
    """[n], on the device."""
    standardised: tuple[str, ...] = ()
    """Modalities that are standardised by the statistics of each fold's training side."""
    statistics: Statistics | None = None

    def fitted(self, train: Indices) -> TaskData:
        """The same corpus, standardised by the statistics of `train` alone."""
        return self.using({m: self.modalities[m].statistics(train) for m in self.standardised})

    def lacking(self, modality: str) -> TaskData:
        """The same corpus without one modality."""
        return replace(self, modalities={m: r for m, r in self.modalities.items() if m != modality})

    def using(self, statistics: Statistics) -> TaskData:
        """The same corpus, standardised by known statistics."""
        return replace(self, statistics=statistics)

    def batch(self, indices: Indices) -> Batch:
        """Gather utterances into one padded batch."""
        if self.statistics is None:
            raise ValueError("a corpus is gathered after `fitted` or `using` has set its statistics")
        sides: list[Tensor | None] = []
        for modality in ("audio", "text"):
            resident = self.modalities.get(modality)
            sides += [None, None] if resident is None else resident.gather(indices, self.statistics.get(modality))
        audio, audio_lengths, text, text_lengths = sides
        labels = self.labels[sent(torch.from_numpy(indices), self.labels.device)]
        return Batch(inputs=(audio, audio_lengths, text, text_lengths), labels=labels)

    def lengths(self) -> Indices:
        """What batches are sorted by: frames of the longer sequence, audio where there is any."""
        first = self.modalities.get("audio") or self.modalities["text"]
        return first.lengths.numpy()

    def evaluation_batches(self, indices: Indices) -> Iterator[Indices]:
        """All of `indices`, longest first, so that little is padding."""
        most = EVALUATION_FRAMES.get(self.labels.device.type, EVALUATION_FRAMES["cpu"])
        both = np.sum([resident.lengths.numpy() for resident in self.modalities.values()], axis=0)
        ordered = indices[np.argsort(-self.lengths()[indices], kind="stable")]
        first = longest = 0
        for end, frames in enumerate(both[ordered].tolist()):
            longest = max(longest, frames)
            if end > first and (end - first + 1) * longest > most:
                yield ordered[first:end]
                first, longest = end, frames
        if first < len(ordered):
            yield ordered[first:]

    def training_batches(self, indices: Indices, size: int, generator: np.random.Generator) -> Iterator[Indices]:
        """Batches of equal size without end, each of similar lengths.

        Chance is kept thus: all utterances are shuffled anew for each pass, so each comes once per pass; a window of
        that order (at most a quarter of a pass, at most 16 batches) is sorted by length and cut into batches, whose
        order is shuffled again.
        """
        size = min(size, len(indices))
        window = size * max(1, min(WINDOW_BATCHES, len(indices) // (4 * size)))
        lengths, waiting = self.lengths(), np.zeros(0, np.int64)
        while True:
            while len(waiting) < window:
                waiting = np.concatenate([waiting, generator.permutation(indices)])
            some, waiting = waiting[:window], waiting[window:]
            batches = some[np.argsort(lengths[some], kind="stable")].reshape(-1, size)
            yield from generator.permutation(batches)

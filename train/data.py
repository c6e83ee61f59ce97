"""From a store to padded batches: each modality lies once, end to end, in the memory of the device that trains.

What the store holds in half precision stays so in memory; a batch becomes float32 when it is gathered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.errors import DataError
from emofuse.store import Feature

Indices = NDArray[np.int64]
Pool = Literal["frames", "mean", "mean+deviation"]
READ_UTTERANCES = 256
EVALUATION_BATCH = 128
WINDOW_BATCHES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """One modality of every utterance, ragged, on the device."""

    values: Tensor
    """[sum T, D] or [sum T, L, D]."""
    starts: Tensor
    """[n], on the device."""
    lengths: Tensor
    """[n], on the CPU, cut to what the model sees."""

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.values.shape[-1])

    @staticmethod
    def load(
        feature: Feature, ids: Sequence[str], device: torch.device, limit: int | None = None, pool: Pool = "frames"
    ) -> Resident:
        """Read `ids` of a feature, at most `limit` frames of each, as frames or as one pooled vector.

        Raises:
            DataError: An utterance without a frame.
        """
        pieces: list[NDArray[Any]] = []
        lengths: list[Indices] = []
        for first in range(0, len(ids), READ_UTTERANCES):
            some = ids[first : first + READ_UTTERANCES]
            ragged = feature.read(some)
            _check(feature.name, some, ragged.lengths)
            values, kept = _cut(ragged.values, ragged.lengths, limit)
            if pool != "frames":
                values, kept = _pool(values, kept, deviation=pool == "mean+deviation"), np.ones_like(kept)
            pieces.append(values)
            lengths.append(kept)
        counts = np.concatenate(lengths)
        starts = np.cumsum(counts) - counts
        return Resident(
            values=torch.from_numpy(np.concatenate(pieces)).to(device),
            starts=torch.from_numpy(starts).to(device),
            lengths=torch.from_numpy(counts),
        )

    def gather(self, indices: Indices, statistics: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Padded float32 [B, T, ...], standardised by `statistics` if given, zero on padding; lengths [B] on CPU."""
        chosen = torch.from_numpy(indices)
        lengths = self.lengths[chosen]
        time = torch.arange(int(lengths.max()), device=self.values.device)
        device_lengths = lengths.to(self.values.device)
        within = torch.minimum(time, device_lengths.unsqueeze(1) - 1)
        at = self.starts[chosen.to(self.starts.device)].unsqueeze(1) + within
        batch = self.values[at].float()
        if statistics is not None:
            mean, scale = statistics
            batch = (batch - mean) / scale
        padding = time >= device_lengths.unsqueeze(1)
        return batch.masked_fill_(padding.reshape(*padding.shape, *[1] * (batch.dim() - 2)), 0), lengths

    def statistics(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Mean and deviation [D] over all frames of some utterances; a constant dimension gets deviation 1."""
        total = square = torch.zeros(self.dimension, dtype=torch.float64, device=self.values.device)
        frames = 0
        for some in np.array_split(indices, max(1, len(indices) // READ_UTTERANCES)):
            batch, lengths = self.gather(some)
            total, square = total + batch.double().sum((0, 1)), square + batch.double().square().sum((0, 1))
            frames += int(lengths.sum())
        mean = total / frames
        scale = (square / frames - mean.square()).clamp(min=0).sqrt()
        return mean.float(), torch.where(scale > 1e-5, scale, 1.0).float()


def _check(name: str, ids: Sequence[str], lengths: Indices) -> None:
    empty = [i for i, n in zip(ids, lengths, strict=True) if n == 0]
    if empty:
        raise DataError(f"feature {name!r}: {len(empty)} utterances have no frame, {empty[0]!r} first; extract again")


def _cut(values: NDArray[Any], lengths: Indices, limit: int | None) -> tuple[NDArray[Any], Indices]:
    if limit is None or lengths.max() <= limit:
        return values, lengths
    within = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return values[within < limit], np.minimum(lengths, limit)


def _pool(values: NDArray[Any], lengths: Indices, *, deviation: bool) -> NDArray[np.float32]:
    starts, wide = np.cumsum(lengths) - lengths, values.astype(np.float64)
    count = lengths.reshape(-1, *[1] * (values.ndim - 1))
    mean = np.add.reduceat(wide, starts) / count
    if not deviation:
        return mean.astype(np.float32)
    square = np.add.reduceat((wide - np.repeat(mean, lengths, axis=0)) ** 2, starts) / count
    return np.concatenate([mean, np.sqrt(square)], axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a model is called with, and the classes [B]."""

    inputs: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
    labels: Tensor


Statistics = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Every utterance of the task, ready to be gathered by its index."""

    modalities: Mapping[str, Resident]
    labels: Tensor
    """[n], on the device."""
    standardised: tuple[str, ...] = ()
    """Modalities that are standardised by the statistics of each fold's training side."""
    statistics: Statistics | None = None

    def fitted(self, train: Indices) -> Corpus:
        """The same corpus, standardised by the statistics of `train` alone."""
        return self.using({m: self.modalities[m].statistics(train) for m in self.standardised})

    def using(self, statistics: Statistics) -> Corpus:
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
        labels = self.labels[torch.from_numpy(indices).to(self.labels.device)]
        return Batch(inputs=(audio, audio_lengths, text, text_lengths), labels=labels)

    def lengths(self) -> Indices:
        """What batches are sorted by: frames of the longer sequence, audio where there is any."""
        first = self.modalities.get("audio") or self.modalities["text"]
        return first.lengths.numpy()

    def evaluation_batches(self, indices: Indices) -> Iterator[Indices]:
        """All of `indices`, longest first, so that little is padding."""
        ordered = indices[np.argsort(-self.lengths()[indices], kind="stable")]
        for first in range(0, len(ordered), EVALUATION_BATCH):
            yield ordered[first : first + EVALUATION_BATCH]

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

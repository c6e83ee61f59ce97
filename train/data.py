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

from emofuse.store import Feature
from emofuse.train.join import JoinedFeature

Indices = NDArray[np.int64]
Pool = Literal["frames", "mean", "mean+deviation"]
CHUNK_BYTES = 64_000_000
"""How much is read, widened or summed at a time, one utterance at least."""
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
        feature: Feature | JoinedFeature,
        ids: Sequence[str],
        device: torch.device,
        limit: int | None = None,
        pool: Pool = "frames",
    ) -> Resident:
        """Read `ids` of a feature, at most `limit` frames of each, as frames or as one pooled vector."""
        whole = feature.lengths[[feature.position[i] for i in ids]]
        cut = whole if limit is None else np.minimum(whole, limit)
        counts = cut if pool == "frames" else np.ones_like(cut)
        width = feature.dimension * (2 if pool == "mean+deviation" else 1)
        shape = (int(counts.sum()), *feature.spec.frame_shape[:-1], width)
        half = feature.spec.dtype == "float16" and pool == "frames"
        # Filled chunk by chunk where it shall lie, so that there is never a second copy of all of it.
        values, done = torch.empty(shape, dtype=torch.float16 if half else torch.float32, device=device), 0
        for first, end in _chunks(whole * feature.spec.frame_bytes):
            ragged = feature.read(ids[first:end])
            some = _cut(ragged.values, ragged.lengths, limit)
            if pool != "frames":
                some = _pool(some, cut[first:end], deviation=pool == "mean+deviation")
            values[done : done + len(some)].copy_(torch.from_numpy(some))
            done += len(some)
        starts = np.cumsum(counts) - counts
        return Resident(values=values, starts=torch.from_numpy(starts).to(device), lengths=torch.from_numpy(counts))

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
        device = self.values.device
        total = torch.zeros(self.dimension, dtype=torch.float64, device=device)
        square, frames = total.clone(), 0
        for first, end in _chunks(self.lengths[indices].numpy() * self.dimension * total.element_size()):
            chosen = torch.from_numpy(indices[first:end])
            lengths = self.lengths[chosen]
            ends, count = lengths.cumsum(0), int(lengths.sum())
            offset = (self.starts[chosen.to(self.starts.device)].cpu() - ends + lengths).repeat_interleave(lengths)
            wide = self.values[(offset + torch.arange(count)).to(device)].double()
            total += wide.sum(0)
            square += wide.square_().sum(0)
            frames += count
        mean = total / frames
        scale = (square / frames - mean.square()).clamp(min=0).sqrt()
        return mean.float(), torch.where(scale > 1e-5, scale, 1.0).float()


def _chunks(sizes: Indices) -> Iterator[tuple[int, int]]:
    """Ranges of items that have at most `CHUNK_BYTES` together, or one item alone."""
    first = held = 0
    for i, size in enumerate(sizes.tolist()):
        if i > first and held + size > CHUNK_BYTES:
            yield first, i
            first, held = i, 0
        held += size
    if len(sizes) > first:
        yield first, len(sizes)


def _cut(values: NDArray[Any], lengths: Indices, limit: int | None) -> NDArray[Any]:
    if limit is None or lengths.max() <= limit:
        return values
    within = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return values[within < limit]


def _pool(values: NDArray[Any], lengths: Indices, *, deviation: bool) -> NDArray[np.float32]:
    """One row per utterance; sums in double precision, of which an utterance's rows are widened bit by bit."""
    pooled = np.empty((len(lengths), *values.shape[1:-1], values.shape[-1] * (1 + deviation)), np.float32)
    step = max(1, CHUNK_BYTES // (8 * int(np.prod(values.shape[1:]))))
    for row, some in zip(pooled, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
        blocks = [some[i : i + step] for i in range(0, len(some), step)]
        mean = sum(block.astype(np.float64).sum(0) for block in blocks) / len(some)
        row[..., : values.shape[-1]] = mean
        if deviation:
            square = sum(np.square(wide := block - mean, out=wide).sum(0) for block in blocks) / len(some)
            row[..., values.shape[-1] :] = np.sqrt(square)
    return pooled


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

    def lacking(self, modality: str) -> Corpus:
        """The same corpus without one modality."""
        return replace(self, modalities={m: r for m, r in self.modalities.items() if m != modality})

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

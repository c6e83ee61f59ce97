"""One modality of a whole corpus, ragged: in memory, or left in the file of its store and mapped into memory.

What the store holds in half precision stays so; a batch becomes float32 when it is gathered.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.errors import DataError
from emofuse.store import Feature
from emofuse.store.hdf5.byte_source import LocalFile
from emofuse.train.resolve.joined_store import JoinedFeature

Indices = NDArray[np.int64]
Pool = Literal["frames", "mean", "mean+deviation"]
CHUNK_BYTES = 64_000_000
"""How much is read, widened or summed at a time, one utterance at least."""
MAPPED = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
"""What lies in a file as it lies in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityBuffer:
    """One modality of every utterance."""

    values: Tensor
    """[sum T, D] or [sum T, L, D]; of a mapped feature the bytes of all its frames, [frames, bytes of a frame]."""
    starts: Tensor
    """[n], where each utterance begins, beside the values."""
    lengths: Tensor
    """[n], on the CPU, cut to what the model sees."""
    device: torch.device | str = "cpu"
    """Where batches are."""
    mapped_as: tuple[torch.dtype, tuple[int, ...]] | None = None
    """What mapped bytes are, [D] or [L, D] of a type: in a file they may begin anywhere, numbers in memory may not."""

    @property
    def dimension(self) -> int:
        """D."""
        return self.mapped_as[1][-1] if self.mapped_as else int(self.values.shape[-1])

    def frames(self, at: Tensor) -> Tensor:
        """Frames by their places, [n, D] or [n, L, D], as they are stored."""
        found = self.values.index_select(0, at)
        if self.mapped_as is None:
            return found
        dtype, shape = self.mapped_as
        return found.view(dtype).view(-1, *shape)

    @staticmethod
    def load(
        feature: Feature | JoinedFeature,
        ids: Sequence[str],
        device: torch.device,
        limit: int | None = None,
        pool: Pool = "frames",
    ) -> ModalityBuffer:
        """Read `ids` of a feature, at most `limit` frames of each, as frames or as one pooled vector.

        Raises:
            DataError: Values are damaged or not finite; names utterances.
        """
        whole = feature.lengths[[feature.position[i] for i in ids]]
        cut = whole if limit is None else np.minimum(whole, limit)
        counts = cut if pool == "frames" else np.ones_like(cut)
        width = feature.dimension * (2 if pool == "mean+deviation" else 1)
        shape = (int(counts.sum()), *feature.spec.frame_shape[:-1], width)
        half = feature.spec.dtype == "float16" and pool == "frames"
        # Filled chunk by chunk where it shall lie, so that there is never a second copy of all of it.
        values, done = torch.empty(shape, dtype=torch.float16 if half else torch.float32, device=device), 0
        for some, lengths, chosen in _read(feature, ids, whole):
            some = _cut(some, lengths, limit)
            if pool != "frames":
                some = _pool(some, cut[chosen], deviation=pool == "mean+deviation")
            values[done : done + len(some)].copy_(torch.from_numpy(some))
            done += len(some)
        starts = np.cumsum(counts) - counts
        return ModalityBuffer(
            values=values,
            starts=torch.from_numpy(starts).to(device),
            lengths=torch.from_numpy(counts),
            device=device,
        )

    @staticmethod
    def mapped(feature: Feature, ids: Sequence[str], device: torch.device, limit: int | None = None) -> ModalityBuffer:
        """The same frames, left where they lie: the system brings them into memory, once for all processes.

        Nothing is verified; `verify` does it. The feature is one that `mappable` says can be.
        """
        at = [feature.position[i] for i in ids]
        whole = feature.lengths[at]
        source, spec = feature.store.source, feature.spec
        assert isinstance(source, LocalFile)
        # Read-only: the system would count a writable copy as memory, however little of it is ever there.
        before = feature.values_offset % mmap.ALLOCATIONGRANULARITY
        first, count = feature.values_offset - before, feature.nbytes
        raw = mmap.mmap(source.descriptor, before + count, access=mmap.ACCESS_READ, offset=first)
        with warnings.catch_warnings():  # torch warns of what nobody may write to, and nobody does
            warnings.simplefilter("ignore", UserWarning)
            flat = torch.frombuffer(raw, dtype=torch.uint8, count=count, offset=before)
        return ModalityBuffer(
            values=flat.view(-1, spec.frame_bytes),
            mapped_as=(MAPPED[spec.dtype], spec.frame_shape),
            starts=torch.from_numpy(feature.starts[at]),
            lengths=torch.from_numpy(whole if limit is None else np.minimum(whole, limit)),
            device=device,
        )

    def gather(self, indices: Indices, statistics: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Padded float32 [B, T, ...], standardised by `statistics` if given, zero on padding; lengths [B]."""
        chosen, there = torch.from_numpy(indices), self.values.device
        lengths = self.lengths[chosen]
        time = torch.arange(int(lengths.numpy().max()), device=there)
        there_lengths = sent(lengths, there)
        within = torch.minimum(time, there_lengths.unsqueeze(1) - 1)
        at = self.starts[sent(chosen, there)].unsqueeze(1) + within
        batch = sent(self.frames(at.flatten()), self.device).float()
        batch = batch.view(*at.shape, *batch.shape[1:])
        if statistics is not None:
            mean, scale = statistics
            batch = (batch - mean) / scale
        padding = sent(time >= there_lengths.unsqueeze(1), self.device)
        batch.masked_fill_(padding.reshape(*padding.shape, *[1] * (batch.dim() - 2)), 0)
        return batch, sent(lengths, self.device)

    def statistics(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Mean and deviation [D] over all frames of some utterances; a constant dimension gets deviation 1."""
        there = self.values.device
        total = torch.zeros(self.dimension, dtype=torch.float64, device=there)
        square, frames = total.clone(), 0
        for first, end in _chunks(self.lengths[indices].numpy() * self.dimension * total.element_size()):
            chosen = torch.from_numpy(indices[first:end])
            lengths = self.lengths[chosen]
            ends, count = lengths.cumsum(0), int(lengths.sum())
            offset = (self.starts[chosen.to(self.starts.device)].cpu() - ends + lengths).repeat_interleave(lengths)
            wide = self.frames((offset + torch.arange(count)).to(there)).double()
            total += wide.sum(0)
            square += wide.square_().sum(0)
            frames += count
        mean = total / frames
        scale = (square / frames - mean.square()).clamp(min=0).sqrt()
        return mean.float().to(self.device), torch.where(scale > 1e-5, scale, 1.0).float().to(self.device)


def sent(values: Tensor, device: torch.device | str) -> Tensor:
    """`values` on a device. A GPU fetches them while this process goes on: before a plain copy it would do all that it
    has been given."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def mappable(feature: Feature | JoinedFeature, pool: Pool) -> TypeGuard[Feature]:
    """Whether a feature's values can be used where they lie."""
    return (
        isinstance(feature, Feature)
        and pool == "frames"
        and feature.spec.dtype in MAPPED
        and isinstance(feature.store.source, LocalFile)
    )


def verify(feature: Feature, ids: Sequence[str]) -> None:
    """Read `ids` once, some at a time.

    Raises:
        DataError: Values are damaged or not finite; names utterances.
    """
    for _ in _read(feature, ids, feature.lengths[[feature.position[i] for i in ids]]):
        pass


def resident_bytes(feature: Feature | JoinedFeature, ids: Sequence[str], limit: int | None, pool: Pool) -> int:
    """What `Resident.load` would take."""
    whole = feature.lengths[[feature.position[i] for i in ids]]
    frames = int((whole if limit is None else np.minimum(whole, limit)).sum()) if pool == "frames" else len(ids)
    each = int(np.prod(feature.spec.frame_shape)) * (2 if pool == "mean+deviation" else 1)
    return frames * each * (2 if feature.spec.dtype == "float16" and pool == "frames" else 4)


def _read(
    feature: Feature | JoinedFeature, ids: Sequence[str], lengths: Indices
) -> Iterator[tuple[NDArray[Any], Indices, slice]]:
    """Verified values of some utterances at a time, their lengths, and which of `ids` they are."""
    for first, end in _chunks(lengths * feature.spec.frame_bytes):
        ragged = feature.read(ids[first:end])
        if not torch.from_numpy(ragged.values).isfinite().all():
            pieces = np.split(ragged.values, np.cumsum(ragged.lengths)[:-1])
            bad = [id for id, piece in zip(ids[first:end], pieces, strict=True) if not np.isfinite(piece).all()]
            raise DataError(
                f"feature {feature.name!r} holds NaN or infinity in {len(bad)} utterances, {', '.join(bad[:5])} "
                "first: extract it anew under another --name, or leave these utterances out"
            )
        yield ragged.values, ragged.lengths, slice(first, end)


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

"""One modality of all utterances as a ragged buffer: in memory, or left in the store's file and mapped into memory.

A feature that is stored in half precision stays so in memory; a batch becomes float32 when it is gathered.
"""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.errors import DataError
from emofuse.store import Feature
from emofuse.store.hdf5.byte_source import LocalFile
from emofuse.train.resolve.features.joined_feature import JoinedFeature

Indices = NDArray[np.int64]
Pool = Literal["frames", "mean", "mean+deviation"]
CHUNK_BYTES = 64_000_000
"""How much is read, widened or summed at a time, at least one utterance."""
MAPPED_DTYPES = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
"""Store's dtype -> torch's, of values that have the same bytes in the file and in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaggedModality:
    """One modality of every utterance."""

    values: Tensor
    """[sum T, D] or [sum T, L, D]; of a mapped feature the bytes of all its frames, [frames, bytes of a frame]."""
    starts: Tensor
    """[n], the first frame of each utterance in `values`; on the device of `values`."""
    lengths: Tensor
    """[n], on the CPU, at most what the model uses."""
    device: torch.device | str = "cpu"
    """Where batches are gathered."""
    mapped_as: tuple[torch.dtype, tuple[int, ...]] | None = None
    """Type and shape, [D] or [L, D], of the frames in mapped bytes. They are viewed as numbers only after they are
    copied, since a file may store them at any byte offset and torch needs aligned numbers."""

    @property
    def dimension(self) -> int:
        """D."""
        return self.mapped_as[1][-1] if self.mapped_as else int(self.values.shape[-1])

    def frames_at(self, positions: Tensor) -> Tensor:
        """The frames at `positions` [n], as [n, D] or [n, L, D], in the stored type."""
        frames = self.values.index_select(0, positions)
        if self.mapped_as is None:
            return frames
        dtype, shape = self.mapped_as
        return frames.view(dtype).view(-1, *shape)

    @staticmethod
    def load(
        feature: Feature | JoinedFeature,
        ids: Sequence[str],
        device: torch.device,
        limit: int | None = None,
        pool: Pool = "frames",
    ) -> RaggedModality:
        """Read `ids` of a feature, at most `limit` frames of each, as frames or as one pooled vector.

        Raises:
            DataError: Values are damaged or not finite; names utterances.
        """
        stored_lengths = _stored_lengths(feature, ids)
        used_lengths = _limited(stored_lengths, limit)
        lengths = used_lengths if pool == "frames" else np.ones_like(used_lengths)
        dimension = feature.dimension * (2 if pool == "mean+deviation" else 1)
        shape = (int(lengths.sum()), *feature.spec.frame_shape[:-1], dimension)
        half = feature.spec.dtype == "float16" and pool == "frames"
        # Filled in place, chunk by chunk, so that there is never a second copy of all values.
        values = torch.empty(shape, dtype=torch.float16 if half else torch.float32, device=device)
        filled = 0
        for chunk, chunk_lengths, utterances in _read_chunks(feature, ids, stored_lengths):
            chunk = _truncate(chunk, chunk_lengths, limit)
            if pool != "frames":
                chunk = _pool(chunk, used_lengths[utterances], deviation=pool == "mean+deviation")
            values[filled : filled + len(chunk)].copy_(torch.from_numpy(chunk))
            filled += len(chunk)
        starts = np.cumsum(lengths) - lengths
        return RaggedModality(
            values=values,
            starts=torch.from_numpy(starts).to(device),
            lengths=torch.from_numpy(lengths),
            device=device,
        )

    @staticmethod
    def memory_map(
        feature: Feature, ids: Sequence[str], device: torch.device, limit: int | None = None
    ) -> RaggedModality:
        """The same frames, left in the file: the system reads them into memory, once for all processes.

        Nothing is verified; `verify_values` does that. `can_be_mapped` must hold for the feature.
        """
        at = [feature.position[i] for i in ids]
        source, spec = feature.file.source, feature.spec
        assert isinstance(source, LocalFile)
        # Read-only: the system would count all of a writable mapping as used memory.
        before = feature.values_offset % mmap.ALLOCATIONGRANULARITY
        first, count = feature.values_offset - before, feature.nbytes
        mapped = mmap.mmap(source.descriptor, before + count, access=mmap.ACCESS_READ, offset=first)
        with warnings.catch_warnings():  # torch warns that the buffer is read-only; nothing writes to it
            warnings.simplefilter("ignore", UserWarning)
            flat = torch.frombuffer(mapped, dtype=torch.uint8, count=count, offset=before)
        return RaggedModality(
            values=flat.view(-1, spec.frame_bytes),
            mapped_as=(MAPPED_DTYPES[spec.dtype], spec.frame_shape),
            starts=torch.from_numpy(feature.starts[at]),
            lengths=torch.from_numpy(_limited(feature.lengths[at], limit)),
            device=device,
        )

    def flat(self) -> RaggedModality:
        """The same values without a layer axis: the layers of a frame end to end, [sum T, L D]."""
        if self.mapped_as is None:
            return replace(self, values=self.values.flatten(1))
        dtype, shape = self.mapped_as
        return replace(self, mapped_as=(dtype, (math.prod(shape),)))

    def select(self, rows: Indices) -> RaggedModality:
        """The same values with `rows` [n] as its utterances, in that order."""
        chosen = torch.from_numpy(rows)
        return replace(self, starts=self.starts[chosen.to(self.starts.device)], lengths=self.lengths[chosen])

    def gather(self, indices: Indices, statistics: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Padded float32 [B, T, ...] and lengths [B].

        Args:
            indices: [B].
            statistics: Mean [D] and deviation [D] to standardise by; padding stays zero.
        """
        chosen, source_device = torch.from_numpy(indices), self.values.device
        lengths = self.lengths[chosen]
        time = torch.arange(int(lengths.numpy().max()), device=source_device)
        lengths_at_source = to_device(lengths, source_device)
        # Positions beyond an utterance's end repeat its last frame; the mask below sets them to zero.
        frame_in_utterance = torch.minimum(time, lengths_at_source.unsqueeze(1) - 1)
        positions = self.starts[to_device(chosen, source_device)].unsqueeze(1) + frame_in_utterance
        batch = to_device(self.frames_at(positions.flatten()), self.device).float()
        batch = batch.view(*positions.shape, *batch.shape[1:])
        if statistics is not None:
            mean, deviation = statistics
            batch = (batch - mean) / deviation
        padding = to_device(time >= lengths_at_source.unsqueeze(1), self.device)
        batch.masked_fill_(padding.reshape(*padding.shape, *[1] * (batch.dim() - 2)), 0)
        return batch, to_device(lengths, self.device)

    def statistics(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Mean [D] and deviation [D] over all frames of some utterances; a constant dimension gets deviation 1."""
        device = self.values.device
        total = torch.zeros(self.dimension, dtype=torch.float64, device=device)
        square_total, frames = total.clone(), 0
        for first, end in _chunks(self.lengths[indices].numpy() * self.dimension * total.element_size()):
            chosen = torch.from_numpy(indices[first:end])
            lengths = self.lengths[chosen]
            ends, count = lengths.cumsum(0), int(lengths.sum())
            offsets = (self.starts[chosen.to(self.starts.device)].cpu() - ends + lengths).repeat_interleave(lengths)
            values = self.frames_at((offsets + torch.arange(count)).to(device)).double()
            total += values.sum(0)
            square_total += values.square_().sum(0)
            frames += count
        mean = total / frames
        deviation = (square_total / frames - mean.square()).clamp(min=0).sqrt()
        return mean.float().to(self.device), torch.where(deviation > 1e-5, deviation, 1.0).float().to(self.device)


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """`values` on a device. A copy to a GPU is asynchronous: a plain copy would wait for all work queued on the GPU."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def can_be_mapped(feature: Feature | JoinedFeature, pool: Pool) -> TypeGuard[Feature]:
    """Whether a feature's values can be used directly from its file."""
    return (
        isinstance(feature, Feature)
        and pool == "frames"
        and feature.spec.dtype in MAPPED_DTYPES
        and isinstance(feature.file.source, LocalFile)
    )


def verify_values(feature: Feature, ids: Sequence[str]) -> None:
    """Read `ids` once, chunk by chunk.

    Raises:
        DataError: Values are damaged or not finite; names utterances.
    """
    for _ in _read_chunks(feature, ids, _stored_lengths(feature, ids)):
        pass


def loaded_bytes(feature: Feature | JoinedFeature, ids: Sequence[str], limit: int | None, pool: Pool) -> int:
    """The bytes that `RaggedModality.load` would take."""
    frames = int(_limited(_stored_lengths(feature, ids), limit).sum()) if pool == "frames" else len(ids)
    frame_values = int(np.prod(feature.spec.frame_shape)) * (2 if pool == "mean+deviation" else 1)
    return frames * frame_values * (2 if feature.spec.dtype == "float16" and pool == "frames" else 4)


def _stored_lengths(feature: Feature | JoinedFeature, ids: Sequence[str]) -> Indices:
    return feature.lengths[[feature.position[i] for i in ids]]


def _limited(lengths: Indices, limit: int | None) -> Indices:
    return lengths if limit is None else np.minimum(lengths, limit)


def _read_chunks(
    feature: Feature | JoinedFeature, ids: Sequence[str], lengths: Indices
) -> Iterator[tuple[NDArray[Any], Indices, slice]]:
    """Verified values of some utterances at a time, their lengths, and which of `ids` they are."""
    for first, end in _chunks(lengths * feature.spec.frame_bytes):
        ragged = feature.read(ids[first:end])
        if not torch.from_numpy(ragged.values).isfinite().all():
            pieces = np.split(ragged.values, np.cumsum(ragged.lengths)[:-1])
            bad = [id for id, piece in zip(ids[first:end], pieces, strict=True) if not np.isfinite(piece).all()]
            count = f"{len(bad)} utterance{'s' if len(bad) > 1 else ''}"
            raise DataError(
                f"feature {feature.name!r} holds NaN or infinity in {count}, {', '.join(bad[:5])} "
                "first: extract it again under another --name, or leave these utterances out"
            )
        yield ragged.values, ragged.lengths, slice(first, end)


def _chunks(sizes: Indices) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive items with at most `CHUNK_BYTES` in total, or of one larger item."""
    first = total = 0
    for i, size in enumerate(sizes.tolist()):
        if i > first and total + size > CHUNK_BYTES:
            yield first, i
            first, total = i, 0
        total += size
    if len(sizes) > first:
        yield first, len(sizes)


def _truncate(values: NDArray[Any], lengths: Indices, limit: int | None) -> NDArray[Any]:
    """The first `limit` frames of each utterance."""
    if limit is None or lengths.max() <= limit:
        return values
    frame_in_utterance = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return values[frame_in_utterance < limit]


def _pool(values: NDArray[Any], lengths: Indices, *, deviation: bool) -> NDArray[np.float32]:
    """One row per utterance, [n, D] or [n, L, D], 2 D with `deviation`; sums are in double precision.

    The frames of an utterance are widened to double precision block by block, to save memory.
    """
    dimension = values.shape[-1]
    pooled = np.empty((len(lengths), *values.shape[1:-1], dimension * (1 + deviation)), np.float32)
    block_frames = max(1, CHUNK_BYTES // (8 * int(np.prod(values.shape[1:]))))
    for row, frames in zip(pooled, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
        blocks = [frames[i : i + block_frames] for i in range(0, len(frames), block_frames)]
        mean = sum(block.astype(np.float64).sum(0) for block in blocks) / len(frames)
        row[..., :dimension] = mean
        if deviation:
            variance = sum(np.square(wide := block - mean, out=wide).sum(0) for block in blocks) / len(frames)
            row[..., dimension:] = np.sqrt(variance)
    return pooled

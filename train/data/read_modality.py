"""Reads a modality into memory: a feature as it is stored, or combined features end to end, aligned in time.

Combined features have the frames of the first one. Frame i lasts from i / rate to (i + 1) / rate seconds; of each other
feature the frame is taken that holds the middle of this time, or its last one, and where both have equally many frames,
frame i. A feature with one vector per utterance has it at each frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from emofuse.common.errors import DataError
from emofuse.store import Feature
from emofuse.train.data.ragged import CHUNK_BYTES, Indices, Pool, RaggedModality, loaded_bytes
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_feature import JoinedFeature

Readable = Feature | JoinedFeature | CombinedFeature


def read_modality(
    feature: Readable, ids: Sequence[str], device: torch.device, limit: int | None = None, pool: Pool = "frames"
) -> RaggedModality:
    """Read `ids`, at most `limit` frames of each, as frames or as one pooled vector; see `RaggedModality.load`.

    Of combined features, the values [sum T, sum of max(L, 1) D]; each feature is pooled by itself.

    Raises:
        DataError: Values are damaged or not finite, or the frames of two features cannot be aligned.
    """
    if not isinstance(feature, CombinedFeature):
        return RaggedModality.load(feature, ids, device, limit, pool)
    first = RaggedModality.load(feature.members[0], ids, device, limit, pool).flat()
    if len(feature.members) == 1:
        return first
    frames = int(first.lengths.sum())
    members = [f.spec.frame_shape for f in feature.members]
    total = sum(int(np.prod(shape)) for shape in members) * (2 if pool == "mean+deviation" else 1)
    half = pool == "frames" and all(f.spec.dtype == "float16" for f in feature.members)
    values = torch.empty((frames, total), dtype=torch.float16 if half else torch.float32, device=device)
    filled = first.dimension
    values[:, :filled] = first.values
    for member in feature.members[1:]:
        other = RaggedModality.load(member, ids, device, None, pool).flat()
        positions = aligned(feature.members[0], member, ids, first.lengths.numpy(), other)
        rows = max(1, CHUNK_BYTES // (4 * other.dimension))
        for start in range(0, frames, rows):
            chunk = positions[start : start + rows]
            values[start : start + rows, filled : filled + other.dimension] = other.frames_at(chunk)
        filled += other.dimension
    return RaggedModality(values=values, starts=first.starts, lengths=first.lengths, device=device)


def modality_bytes(feature: Readable, ids: Sequence[str], limit: int | None, pool: Pool) -> int:
    """The bytes that `read_modality` takes in the end."""
    if not isinstance(feature, CombinedFeature):
        return loaded_bytes(feature, ids, limit, pool)
    first = feature.members[0]
    one = loaded_bytes(first, ids, limit, pool)
    sizes = [int(np.prod(f.spec.frame_shape)) for f in feature.members]
    half = all(f.spec.dtype == "float16" for f in feature.members) or first.spec.dtype != "float16"
    return one * sum(sizes) // sizes[0] * (1 if half or pool != "frames" else 2)


def aligned(
    first: Feature | JoinedFeature,
    other: Feature | JoinedFeature,
    ids: Sequence[str],
    lengths: Indices,
    values: RaggedModality,
) -> Tensor:
    """For each frame of a feature, the position in another one's values of the frame at the same time.

    Args:
        first: The feature.
        other: The other feature.
        ids: [n], the utterances that were read.
        lengths: [n], how many frames of `first` were read of each.
        values: What was read of `other`.

    Returns:
        [sum of `lengths`].

    Raises:
        DataError: Utterances with different numbers of frames, and no frame rate to align them by.
    """
    own, counts = (np.asarray(f.lengths)[[f.position[id] for id in ids]] for f in (first, other))
    counts = np.minimum(counts, values.lengths.numpy())  # one, where the values are pooled
    frame = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if first.frame_rate and other.frame_rate:
        at_time = ((frame + 0.5) * (other.frame_rate / first.frame_rate)).astype(np.int64)
    else:
        at_time = frame
        differing = [id for id, a, b in zip(ids, own, counts, strict=True) if b not in (1, a)]
        if differing and values.lengths.max() > 1:
            raise DataError(
                f"features {first.name!r} and {other.name!r} have different numbers of frames in {differing[0]!r}, and "
                "no frame rates to align them by: extract both again from the same texts"
            )
    same = np.repeat(own == counts, lengths)
    index = np.minimum(np.where(same, frame, at_time), np.repeat(counts, lengths) - 1)
    starts = np.repeat(values.starts.cpu().numpy(), lengths)
    return torch.from_numpy(starts + index).to(values.values.device)

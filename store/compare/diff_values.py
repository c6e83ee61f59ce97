"""How far the values of two features lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.store.core.feature import Feature

BATCH_BYTES = 1 << 25
"""Values that are read at once, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The largest relative difference between two features, and where."""

    difference: float | None
    """max|a-b| / max|a| over an utterance (over max|b| where a is all zeros); none: some are no finite numbers."""
    utterance: str
    compared: int
    """Utterances that were read."""


def largest_difference(a: Feature, b: Feature, ids: Sequence[str], batch_bytes: int = BATCH_BYTES) -> Largest:
    """Compare the decoded values of `ids`, which both hold with equally many frames of one shape.

    Raises:
        DataError: Damaged utterances, all of a batch named.
    """
    worst, where = -1.0, ids[0]
    for batch in _batches(a, ids, batch_bytes):
        one, other = a.read(batch), b.read(batch)
        ends = np.cumsum(one.lengths)[:-1]
        for id, x, y in zip(batch, np.split(one.values, ends), np.split(other.values, ends), strict=True):
            found = relative(x, y)
            if found > worst:
                worst, where = found, id
    return Largest(difference=worst if np.isfinite(worst) else None, utterance=where, compared=len(ids))


def relative(x: NDArray[Any], y: NDArray[Any]) -> float:
    """max|x-y| / max|x|, over max|y| where x is all zeros; infinite where a number on one side is none."""
    wide_x, wide_y = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(wide_x - wide_y)
    apart[(wide_x == wide_y) | (np.isnan(wide_x) & np.isnan(wide_y))] = 0
    furthest = float(apart.max())
    if furthest == 0:
        return 0.0
    largest = float(np.abs(wide_x).max()) or float(np.abs(wide_y).max())
    found = furthest / largest
    return found if np.isfinite(found) and np.isfinite(largest) else float("inf")


def _batches(feature: Feature, ids: Sequence[str], batch_bytes: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for id in ids:
        count = int(feature.lengths[feature.position[id]]) * feature.spec.frame_bytes
        if batch and size + count > batch_bytes:
            yield batch
            batch, size = [], 0
        batch.append(id)
        size += count
    if batch:
        yield batch

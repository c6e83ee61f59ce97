"""How far the values of two features are apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.store.core.feature import Feature

BATCH_BYTES = 1 << 25
"""Bytes of values that are read at once, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestDifference:
    """The largest relative difference between two features, and its utterance."""

    difference: float | None
    """max|a-b| / max|a| over an utterance (over max|b| where a is all zeros); None where some are not finite."""
    utterance: str
    compared: int
    """Utterances that were read."""


def largest_difference(a: Feature, b: Feature, ids: Sequence[str], batch_bytes: int = BATCH_BYTES) -> LargestDifference:
    """Compare the decoded values of `ids`, of which both features have equally many frames of one shape.

    Raises:
        DataError: Damaged utterances, all of a batch named.
    """
    largest, utterance = -1.0, ids[0]
    for batch in _batches(a, ids, batch_bytes):
        of_a, of_b = a.read(batch), b.read(batch)
        ends = np.cumsum(of_a.lengths)[:-1]
        for id, x, y in zip(batch, np.split(of_a.values, ends), np.split(of_b.values, ends), strict=True):
            difference = relative_difference(x, y)
            if difference > largest:
                largest, utterance = difference, id
    return LargestDifference(
        difference=largest if np.isfinite(largest) else None, utterance=utterance, compared=len(ids)
    )


def relative_difference(x: NDArray[Any], y: NDArray[Any]) -> float:
    """max|x-y| / max|x|, over max|y| where x is all zeros; infinite where only one side has a value that is not finite.

    Args:
        x: [T, ...], float16 or float32.
        y: The same shape.
    """
    wide_x, wide_y = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(wide_x - wide_y)
    apart[(wide_x == wide_y) | (np.isnan(wide_x) & np.isnan(wide_y))] = 0
    furthest = float(apart.max())
    if furthest == 0:
        return 0.0
    scale = float(np.abs(wide_x).max()) or float(np.abs(wide_y).max())
    ratio = furthest / scale
    return ratio if np.isfinite(ratio) and np.isfinite(scale) else float("inf")


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

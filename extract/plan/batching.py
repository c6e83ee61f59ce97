"""Plans batches from lengths alone: the same corpus and budget always give the same batches."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

BatchIds = list[str]
MAX_PADDING = 0.05
"""The share of a batch that may be padding."""


def plan_batches(sizes: Mapping[str, int], budget: int, max_utterances: int = 64) -> list[BatchIds]:
    """Batches of utterances of similar length, longest first: a batch that does not fit in memory fails at the start.

    A batch ends where the next utterance would bring it over `budget`, or its padding over `MAX_PADDING`: in a large
    corpus the budget decides, in a small one the padding. Planning whole batches again by themselves gives the same
    batches.

    Args:
        sizes: Utterance id -> samples or tokens.
        budget: Samples or tokens of a batch, padding included. A longer utterance gets its own batch.
        max_utterances: The most utterances of a batch.
    """
    batches: list[BatchIds] = []
    longest = unpadded = 0
    for id in sorted(sizes, key=lambda i: (-sizes[i], i)):
        padded = (len(batches[-1]) + 1) * longest if batches else 0
        padding = padded - unpadded - sizes[id]
        if not batches or len(batches[-1]) >= max_utterances or padded > budget or padding > MAX_PADDING * padded:
            batches.append([])
            longest, unpadded = sizes[id], 0
        batches[-1].append(id)
        unpadded += sizes[id]
    return batches


def padding_share(sizes: Mapping[str, int], batches: Sequence[BatchIds]) -> float:
    """The share of all computed samples or tokens that is padding."""
    padded = sum(padded_size(sizes, batch) for batch in batches)
    return 1 - sum(sizes.values()) / padded if padded else 0.0


def padded_size(sizes: Mapping[str, int], batch: BatchIds) -> int:
    """Samples or tokens of a batch, padding included."""
    return len(batch) * max(sizes[id] for id in batch)


def distribute(batches: Sequence[BatchIds], sizes: Mapping[str, int], workers: int) -> list[list[BatchIds]]:
    """Whole batches for each of `workers`, balanced by size, not by count: a batch goes to the least loaded worker."""
    distributed: list[list[BatchIds]] = [[] for _ in range(workers)]
    loads = [(0, worker) for worker in range(workers)]
    for batch in batches:
        load, worker = heapq.heappop(loads)
        distributed[worker].append(batch)
        heapq.heappush(loads, (load + padded_size(sizes, batch), worker))
    return distributed

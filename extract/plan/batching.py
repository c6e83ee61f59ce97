"""Plans batches from lengths alone, so that the same corpus and budget always give the same batches."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

BatchIds = list[str]
PADDING = 0.05
"""The share of a batch that may be padding."""


def plan_batches(sizes: Mapping[str, int], budget: int, most: int = 64) -> list[BatchIds]:
    """Utterances of like length together, longest first: what does not fit in memory shows at once.

    A batch ends where the next utterance would bring it over `budget`, or its padding over `PADDING`: of a large corpus
    the budget decides, of a small one the padding. Whole batches that are planned again on their own come out the same.

    Args:
        sizes: Utterance id -> samples or tokens.
        budget: Samples or tokens of a batch, padding included. A longer utterance goes alone.
        most: Utterances of a batch at most.
    """
    batches: list[BatchIds] = []
    width = held = 0
    for id in sorted(sizes, key=lambda i: (-sizes[i], i)):
        computed = (len(batches[-1]) + 1) * width if batches else 0
        padded = computed - held - sizes[id]
        if not batches or len(batches[-1]) >= most or computed > budget or padded > PADDING * computed:
            batches.append([])
            width, held = sizes[id], 0
        batches[-1].append(id)
        held += sizes[id]
    return batches


def padding_share(sizes: Mapping[str, int], batches: Sequence[BatchIds]) -> float:
    """The share of what is computed that is padding."""
    computed = sum(cost(sizes, batch) for batch in batches)
    return 1 - sum(sizes.values()) / computed if computed else 0.0


def cost(sizes: Mapping[str, int], batch: BatchIds) -> int:
    """What a batch computes, padding included."""
    return len(batch) * max(sizes[id] for id in batch)


def deal(batches: Sequence[BatchIds], sizes: Mapping[str, int], shares: int) -> list[list[BatchIds]]:
    """Whole batches to `shares` workers, alike in seconds (not in count): each batch to whoever has least so far."""
    dealt: list[list[BatchIds]] = [[] for _ in range(shares)]
    loads = [(0, share) for share in range(shares)]
    for batch in batches:
        load, share = heapq.heappop(loads)
        dealt[share].append(batch)
        heapq.heappush(loads, (load + cost(sizes, batch), share))
    return dealt

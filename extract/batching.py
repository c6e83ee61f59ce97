"""Plans batches from lengths alone, so that the same corpus and budget always give the same batches."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

Batch = list[str]


def plan_batches(sizes: Mapping[str, int], budget: int, most: int = 64) -> list[Batch]:
    """Utterances of like length together, longest first: what does not fit in memory shows at once.

    Args:
        sizes: Utterance id -> samples or tokens.
        budget: Samples or tokens of a batch, padding included. A longer utterance goes alone.
        most: Utterances of a batch at most.
    """
    batches: list[Batch] = []
    width = 0
    for id in sorted(sizes, key=lambda i: (-sizes[i], i)):
        if not batches or len(batches[-1]) >= most or (len(batches[-1]) + 1) * width > budget:
            batches.append([])
            width = sizes[id]
        batches[-1].append(id)
    return batches


def padding_share(sizes: Mapping[str, int], batches: Sequence[Batch]) -> float:
    """The share of what is computed that is padding."""
    computed = sum(cost(sizes, batch) for batch in batches)
    return 1 - sum(sizes.values()) / computed if computed else 0.0


def cost(sizes: Mapping[str, int], batch: Batch) -> int:
    """What a batch computes, padding included."""
    return len(batch) * max(sizes[id] for id in batch)


def deal(batches: Sequence[Batch], sizes: Mapping[str, int], shares: int) -> list[list[Batch]]:
    """Whole batches to `shares` workers, alike in seconds (not in count): each batch to whoever has least so far."""
    dealt: list[list[Batch]] = [[] for _ in range(shares)]
    loads = [(0, share) for share in range(shares)]
    for batch in batches:
        load, share = heapq.heappop(loads)
        dealt[share].append(batch)
        heapq.heappush(loads, (load + cost(sizes, batch), share))
    return dealt

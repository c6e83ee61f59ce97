"""Plans batches from lengths alone, so that the same corpus and budget always give the same batches."""

from __future__ import annotations

from collections.abc import Mapping


def plan_batches(sizes: Mapping[str, int], budget: int, most: int = 64) -> list[list[str]]:
    """Utterances of like length together, longest first: what does not fit in memory shows at once.

    Args:
        sizes: Utterance id -> samples or tokens.
        budget: Samples or tokens of a batch, padding included. A longer utterance goes alone.
        most: Utterances of a batch at most.
    """
    batches: list[list[str]] = []
    width = 0
    for id in sorted(sizes, key=lambda i: (-sizes[i], i)):
        if not batches or len(batches[-1]) >= most or (len(batches[-1]) + 1) * width > budget:
            batches.append([])
            width = sizes[id]
        batches[-1].append(id)
    return batches


def padding_share(sizes: Mapping[str, int], batches: list[list[str]]) -> float:
    """The share of what is computed that is padding."""
    computed = sum(len(batch) * max(sizes[id] for id in batch) for batch in batches)
    return 1 - sum(sizes.values()) / computed if computed else 0.0

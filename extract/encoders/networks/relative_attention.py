"""Self-attention with an additive bias for relative positions, over padded sequences.

The bias of a head depends on the distance between key and query alone, so its 2 N - 1 values are enough. The weights
are computed for a limited number of queries at a time: memory grows with the length of a clip, not with its square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ROWS = 1024
"""Queries whose attention is computed at once."""


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    biases: torch.Tensor,
    padding: torch.Tensor,
    *,
    gate: torch.Tensor | None = None,
    extra: int = 0,
) -> torch.Tensor:
    """Attention [B, H, N, d] of queries, keys and values [B, H, N, d].

    Args:
        query: Not yet scaled.
        key: As `query`.
        value: As `query`.
        biases: The bias [H, 2 T - 1] of each distance from -(T - 1) to T - 1, key minus query; T = N - `extra`.
        padding: Where a position [B, N] is padding, which nothing attends to.
        gate: A factor [B, H, N, 1] of the bias for each query; None means 1.
        extra: Positions at the start that have no bias, neither as query nor as key.
    """
    import torch
    import torch.nn.functional as F

    length = query.shape[2]
    # The bias of query i are the T values from distance -i on: a view, in which the last query comes first.
    frames = length - extra
    backwards = biases.unfold(1, frames, 1)
    blocked = torch.zeros_like(padding, dtype=query.dtype).masked_fill(padding, float("-inf"))[:, None, None]
    blocks = []
    for first in range(0, length, _ROWS):
        last = min(first + _ROWS, length)
        begin, end = max(0, first - extra), max(0, last - extra)
        rows = backwards[:, frames - end : frames - begin].flip(1).to(query.dtype)
        rows = F.pad(rows, (extra, 0, last - first - rows.shape[1], 0))[None]
        if gate is not None:
            rows = rows * gate[:, :, first:last]
        blocks.append(F.scaled_dot_product_attention(query[:, :, first:last], key, value, rows + blocked))
    return torch.cat(blocks, dim=2)


def split_heads(hidden: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, N, D] as [B, heads, N, D / heads]."""
    return hidden.reshape(*hidden.shape[:2], heads, -1).transpose(1, 2)


def join_heads(hidden: torch.Tensor) -> torch.Tensor:
    """[B, H, N, d] as [B, N, H d]."""
    return hidden.transpose(1, 2).flatten(2)

"""Parts that architectures share. Recurrence and attention live here alone, where they can be made fast once.

Shapes: B batch, T time, D width; `lengths` [B] are true lengths, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def time_mask(lengths: Tensor, time: int, device: torch.device) -> Tensor:
    """True on frames, false on padding: [B, T]."""
    return torch.arange(time, device=device) < lengths.to(device).unsqueeze(1)


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the true frames of [B, T, ...]: [B, ...]."""
    mask = time_mask(lengths, x.shape[1], x.device).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
    count = lengths.to(x.device).reshape(-1, *[1] * (x.dim() - 2))
    return x.masked_fill(~mask, 0).sum(1) / count


class BiGRU(nn.Module):
    """A bidirectional GRU that never sees padding: [B, T, D] -> [B, T, 2 hidden], zero on padding.

    The backward direction is a forward GRU on each sequence reversed within its own length, so padding always comes
    last and cannot reach a true frame. Equal to a packed bidirectional `nn.GRU`; on a CPU three times as fast.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.forwards = nn.GRU(dimension, hidden, batch_first=True)
        self.backwards = nn.GRU(dimension, hidden, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Both directions, concatenated."""
        time = torch.arange(x.shape[1], device=x.device)
        mirror = (lengths.to(x.device).unsqueeze(1) - 1 - time).clamp(min=0)
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        ahead, back = self.forwards(x)[0], self.backwards(x[rows, mirror])[0][rows, mirror]
        mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
        return torch.cat([ahead, back], dim=2).masked_fill(~mask, 0)


class AttentionPooling(nn.Module):
    """Additive attention over time (SMCN eq. 3-6): softmax over m of tanh(W h_m + b) . u, then the weighted sum."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dimension, dimension)
        self.u = nn.Parameter(torch.empty(dimension))
        nn.init.uniform_(self.u, -(dimension**-0.5), dimension**-0.5)

    def weights(self, h: Tensor, lengths: Tensor) -> Tensor:
        """Attention weights [B, T]; zero on padding, one in sum."""
        scores = torch.tanh(self.inner(h)) @ self.u
        mask = time_mask(lengths, h.shape[1], h.device)
        return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)

    def forward(self, h: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, D] -> [B, D]."""
        return torch.einsum("bt,btd->bd", self.weights(h, lengths), h)


def head(dimension: int, hidden: int, classes: int) -> nn.Sequential:
    """Two linear layers with a ReLU between; without one they would be one layer."""
    return nn.Sequential(nn.Linear(dimension, hidden), nn.ReLU(), nn.Linear(hidden, classes))

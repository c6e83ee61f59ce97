"""Parts that architectures share. Recurrence and attention live here alone, where they can be made fast once.

Shapes: B batch, T time, D width; `lengths` [B] are true lengths, on any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.blocks.recurrence import bidirectional


def time_mask(lengths: Tensor, time: int, device: torch.device) -> Tensor:
    """True on frames, false on padding: [B, T]."""
    return torch.arange(time, device=device) < lengths.to(device).unsqueeze(1)


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the true frames of [B, T, ...]: [B, ...]."""
    mask = time_mask(lengths, x.shape[1], x.device).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
    count = lengths.to(x.device).reshape(-1, *[1] * (x.dim() - 2))
    return x.masked_fill(~mask, 0).sum(1) / count


def last_frame(x: Tensor, lengths: Tensor) -> Tensor:
    """The last true frame of [B, T, D]: [B, D]."""
    return x[torch.arange(len(x), device=x.device), lengths.to(x.device) - 1]


class TimeConvolution(nn.Module):
    """A convolution over time that keeps the length and sees zeros for padding: [B, T, D] -> [B, T, out]."""

    def __init__(self, dimension: int, out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(dimension, out, kernel)
        self.edges = ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Padding may hold anything; in the output it means nothing."""
        mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
        padded = F.pad(x.masked_fill(~mask, 0).transpose(1, 2), self.edges)
        found: Tensor = self.convolution(padded).transpose(1, 2)
        return found


class BiGRU(nn.Module):
    """A bidirectional GRU that never sees padding: [B, T, D] -> [B, T, 2 hidden], zero on padding.

    Equal to a packed bidirectional `nn.GRU`. The backward direction is a forward GRU on each sequence reversed within
    its own length, so padding always comes last and cannot reach a true frame.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.forwards = nn.GRU(dimension, hidden, batch_first=True)
        self.backwards = nn.GRU(dimension, hidden, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Both directions, concatenated."""
        return bigrus(x, lengths, [self])[0]

    def plain(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The same by `nn.GRU` itself: cuDNN's on a GPU, and what `forward` is tested against."""
        time = torch.arange(x.shape[1], device=x.device)
        mirror = (lengths.to(x.device).unsqueeze(1) - 1 - time).clamp(min=0)
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)
        ahead, back = self.forwards(x)[0], self.backwards(x[rows, mirror])[0][rows, mirror]
        mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
        return torch.cat([ahead, back], dim=2).masked_fill(~mask, 0)

    def counted(self, x: Tensor) -> Tensor:
        """On the meta device, where nothing is computed: the same products at once, for those who count them."""
        for gru in (self.forwards, self.backwards):
            state = x.new_empty(*x.shape[:2], gru.hidden_size)
            for values, name in ((x, "weight_ih_l0"), (state, "weight_hh_l0")):
                torch.matmul(values, gru.get_parameter(name).t())
        return x.new_empty(*x.shape[:2], 2 * self.forwards.hidden_size)


def bigrus(x: Tensor, lengths: Tensor, layers: Sequence[nn.Module]) -> list[Tensor]:
    """What several GRUs of one width make of the same sequence; on a CPU they go side by side, which is much faster."""
    grus = cast("Sequence[BiGRU]", layers)
    if x.device.type == "meta":
        return [gru.counted(x) for gru in grus]
    if x.device.type != "cpu":
        return [gru.plain(x, lengths) for gru in grus]
    return bidirectional(x, lengths, [(gru.forwards, gru.backwards) for gru in grus])


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


def sinusoids(time: int, dimension: int, device: torch.device) -> Tensor:
    """Position encodings (Vaswani et al. 2017, section 3.5), [T, D]: sines in the first half of D, cosines after."""
    half = torch.arange((dimension + 1) // 2, device=device)
    rate = 10000.0 ** (-2 * half / dimension)
    angle = torch.arange(time, device=device).unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :dimension]


def indivisible(width: int, heads: int) -> list[str]:
    """A line for `Config.problems` where heads cannot share a width evenly."""
    if width % heads == 0:
        return []
    nearest = -(-width // heads) * heads
    return [f"width={width}, heads={heads}: expected a width that heads divides, such as {nearest}"]


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention in several heads (Vaswani et al. 2017, section 3.2).

    Keys have no bias: it shifts every score of one softmax alike, so its gradient is zero by algebra.
    """

    def __init__(self, dimension: int, heads: int) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dimension}")
        self.heads = heads
        self.query, self.value, self.output = (nn.Linear(dimension, dimension) for _ in range(3))
        self.key = nn.Linear(dimension, dimension, bias=False)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Let [B, Tq, D] attend to [B, Tk, D] where `mask` [B, Tk] is true, at least once in each row: [B, Tq, D]."""
        q, k, v = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(query), self.key(memory), self.value(memory))
        )
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        attended: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return attended


class TransformerLayer(nn.Module):
    """Attention and a position-wise network, each with its residual and then layer norm (Vaswani et al. 2017).

    Dropout stands where that paper has it, on what a sub-layer adds to its input; `keep` says what stays.
    """

    def __init__(self, dimension: int, heads: int, feedforward: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = MultiHeadAttention(dimension, heads)
        self.feedforward = head(dimension, feedforward, dimension)
        self.norms = nn.ModuleList(nn.LayerNorm(dimension) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, keep: Tensor | None = None) -> Tensor:
        """Let `x` [B, T, D] attend to `memory` [B, Tk, D] (itself, or another sequence) where `mask` [B, Tk] is true.

        Args:
            keep: [2, B, T, D], true where a sub-layer's output stays; none in evaluation.
        """
        x = self.norms[0](x + dropped(self.attention(x, memory, mask), keep, 0, self.dropout))
        after: Tensor = self.norms[1](x + dropped(self.feedforward(x), keep, 1, self.dropout))
        return after


class TransformerEncoder(nn.Module):
    """A stack of layers in which a sequence attends to itself: [B, T, D] -> [B, T, D]; padding holds no meaning."""

    def __init__(self, dimension: int, heads: int, feedforward: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dimension, heads, feedforward, dropout) for _ in range(depth))

    def forward(self, x: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Tensor:
        """`keep` is [depth, 2, B, T, D], true where a sub-layer's output stays; none in evaluation."""
        mask = time_mask(lengths, x.shape[1], x.device)
        for i, layer in enumerate(self.layers):
            x = layer(x, x, mask, None if keep is None else keep[i])
        return x


def draw_keep(shape: tuple[int, ...], dropout: float, generator: torch.Generator) -> Tensor:
    """True with probability 1 - dropout."""
    return torch.empty(shape, dtype=torch.bool, device=generator.device).bernoulli_(1 - dropout, generator=generator)


def dropped(x: Tensor, keep: Tensor | None, index: int, dropout: float) -> Tensor:
    """`x` where `keep[index]` is true, scaled so that its expectation stays; `x` itself in evaluation."""
    return x if keep is None or not dropout else x.masked_fill(~keep[index], 0) / (1 - dropout)

"""Layers of MCFN (`mcfn.py`), in the paper's order: masks, deltas, dilated convolutions, dual attention, collaboration.

Shapes: B batch, n frames, m words, D width, C channels. `lengths` [B] holds the number of frames before padding;
`mask` [B, n] is true on these frames. Equation numbers are those of the MCFN paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON, MOMENTUM = 1e-5, 0.1
LEAKY_SLOPE = 0.01


def time_frequency_masked(x: Tensor, lengths: Tensor, uniforms: Tensor, bands: float, frames: float) -> Tensor:
    """Mask one run of bands and one run of frames: [B, n, D] -> [B, n, D].

    Masked values are zero, which is the mean of standardised features.

    Args:
        x: Features.
        lengths: Frames before padding [B].
        uniforms: [B, 4] in [0, 1): width and start of the masked bands, then of the masked frames.
        bands: Largest share of D that is masked.
        frames: Largest share of the utterance's own frames that is masked.
    """
    lengths = lengths.to(x.device)
    masked_bands = _masked_run(uniforms[:, :2], torch.full_like(lengths, x.shape[2]), bands, x.shape[2])
    masked_frames = _masked_run(uniforms[:, 2:], lengths, frames, x.shape[1])
    return x.masked_fill(masked_bands.unsqueeze(1) | masked_frames.unsqueeze(2), 0)


def _masked_run(uniforms: Tensor, size: Tensor, share: float, positions: int) -> Tensor:
    """True on the masked positions [B, positions]: 0 to share * size in a row, all among the first `size`."""
    width = (uniforms[:, 0] * ((size * share).floor() + 1)).floor()
    start = (uniforms[:, 1] * (size - width + 1)).floor()
    position = torch.arange(positions, device=size.device)
    return (position >= start.unsqueeze(1)) & (position < (start + width).unsqueeze(1))


def delta(x: Tensor, lengths: Tensor) -> Tensor:
    """Slope over time by regression over five frames: [B, n, D] -> [B, n, D]; the first and last frame are repeated."""
    time = torch.arange(x.shape[1], device=x.device)
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    last = lengths.to(x.device).unsqueeze(1) - 1
    before, after = ([x[rows, torch.minimum((time + s * k).clamp(min=0), last)] for k in (1, 2)] for s in (-1, 1))
    return ((after[0] - before[0]) + 2 * (after[1] - before[1])) / 10


def with_deltas(x: Tensor, lengths: Tensor) -> Tensor:
    """[B, n, D] -> [B, n, 3D]: static, delta, delta-delta."""
    first = delta(x, lengths)
    return torch.cat([x, first, delta(first, lengths)], dim=2)


class MaskedBatchNorm(nn.Module):
    """Batch norm over [B, C, n] that ignores padding, also in training; zero on padding."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum = MOMENTUM

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, C, n] -> [B, C, n]: by the batch's statistics in training, by the running ones in evaluation."""
        padding = ~mask.unsqueeze(1)
        mean, var = self.running_mean, self.running_var
        if self.training:
            count = mask.sum()
            mean = x.masked_fill(padding, 0).sum((0, 2)) / count
            var = (x - mean.unsqueeze(1)).square().masked_fill(padding, 0).sum((0, 2)) / count
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach() * count / (count - 1).clamp(min=1), self.momentum)
        scale = self.weight * torch.rsqrt(var + EPSILON)
        return ((x - mean.unsqueeze(1)) * scale.unsqueeze(1) + self.bias.unsqueeze(1)).masked_fill(padding, 0)


class DilatedConvolution(nn.Module):
    """A convolution of dilation 2 that keeps the length, then batch norm: [B, C, n] -> [B, out, n].

    It has no bias, which batch norm would cancel.
    """

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, out, kernel, dilation=2, padding=kernel - 1, bias=False)
        self.norm = MaskedBatchNorm(out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` must be zero on padding; so is the result."""
        normalised: Tensor = self.norm(self.convolution(x), mask)
        return normalised


class UpgradeFeatureLearning(nn.Module):
    """UFLBs (dilated convolution, batch norm, leaky ReLU) from width to width, with one skip over all of them."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DilatedConvolution(c, out, kernel=3) for c, out in pairwise(channels))
        self.skip = DilatedConvolution(channels[0], channels[-1], kernel=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, C, n] -> [B, C', n]; `x` must be zero on padding, and so is the result."""
        h = x
        for block in self.blocks:
            h = F.leaky_relu(block(h, mask), LEAKY_SLOPE)
        out: Tensor = h + self.skip(x, mask)
        return out


class SpeechEncoder(nn.Module):
    """Three UFLBs with one skip over the stack or one over each block: [B, n, D] -> O_s [B, n, width]."""

    def __init__(self, dimension: int, width: int, skip: str) -> None:
        super().__init__()
        channels = [dimension, width // 4, width // 2, width]
        spans: Iterable[Sequence[int]] = [channels] if skip == "stack" else pairwise(channels)
        self.spans = nn.ModuleList(UpgradeFeatureLearning(span) for span in spans)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Padding of `x` may hold anything; the result is zero on padding."""
        h = x.masked_fill(~mask.unsqueeze(2), 0).transpose(1, 2)
        for span in self.spans:
            h = span(h, mask)
        return h.transpose(1, 2)


class DualAttention(nn.Module):
    """The sum of temporal-wise and channel-wise attention: O [B, n, D] -> S or T [B, n, D].

    T_1, T_2, T_3 are convolutions of width 1, so linear layers at each time step. T_1 has no bias: it would add one
    constant to all scores of a softmax. `channel_scale` is "none" (eq. 2 as printed) or "sqrt": the scores of eq. 2 are
    divided by the square root of the utterance's own number of frames, over which they are sums.
    """

    def __init__(self, width: int, inner: int, channel_scale: str = "none") -> None:
        super().__init__()
        self.channel_scale = channel_scale
        self.T_1 = nn.Linear(width, inner, bias=False)
        self.T_2 = nn.Linear(width, inner)
        self.T_3 = nn.Linear(width, width)

    def temporal(self, x: Tensor, mask: Tensor) -> Tensor:
        """Eq. 1, [B, n, D]: x_j + sum_i w_ji T_3,i over frames i, where w_ji = softmax over i of T_1,i . T_2,j."""
        query, key, value = (layer(x).unsqueeze(1) for layer in (self.T_2, self.T_1, self.T_3))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :], scale=1.0)
        return x + attended.squeeze(1)

    def weights(self, x: Tensor, mask: Tensor) -> Tensor:
        """w_ji of eq. 1, [B, n (j), n (i)]; zero on padded frames i, and each row sums to one."""
        scores = self.T_2(x) @ self.T_1(x).transpose(1, 2)
        return torch.softmax(scores.masked_fill(~mask.unsqueeze(1), -torch.inf), dim=2)

    def channel(self, x: Tensor, mask: Tensor) -> Tensor:
        """Eq. 2, [B, n, D]: x_j + sum_i w_ji x_i over channels i, with `channel_weights`."""
        return x + x @ self.channel_weights(x, mask).transpose(1, 2)

    def channel_weights(self, x: Tensor, mask: Tensor) -> Tensor:
        """w_ji = softmax over i of x_i . x_j, [B, D (j), D (i)]; `x` must be zero on padding."""
        scores = x.transpose(1, 2) @ x
        if self.channel_scale == "sqrt":
            scores = scores * mask.sum(1).to(x).rsqrt().reshape(-1, 1, 1)
        return torch.softmax(scores, dim=2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` must be zero on padding; padding of the result is meaningless."""
        return self.temporal(x, mask) + self.channel(x, mask)


class AlignmentAttention(nn.Module):
    """Eq. 3 and 4 with several heads: each word attends to the frames, S [B, n, D] -> S~ [B, m, D].

    A head's score tanh(u . s_i + v . t_j + b) is in (-1, 1), so two weights differ by a factor of e^2 at most.
    """

    def __init__(self, width: int, heads: int, units: int) -> None:
        super().__init__()
        self.heads = heads
        self.U = nn.Linear(width, heads, bias=False)
        self.V = nn.Linear(width, heads)  # the bias is b of eq. 3
        self.value = nn.Linear(width, units)
        self.output = nn.Linear(units, width)

    def weights(self, S: Tensor, T: Tensor, mask: Tensor) -> Tensor:
        """Attention weights [B, heads, m, n] over the frames; zero on padded frames, and each row sums to one."""
        of_frames, of_words = self.U(S).transpose(1, 2), self.V(T).transpose(1, 2)
        scores = torch.tanh(of_frames.unsqueeze(2) + of_words.unsqueeze(3))
        return torch.softmax(scores.masked_fill(~mask[:, None, None, :], -torch.inf), dim=3)

    def forward(self, S: Tensor, T: Tensor, mask: Tensor) -> Tensor:
        """Align S [B, n, D] with T [B, m, D], result [B, m, D]; `mask` is that of the frames."""
        values = self.value(S).unflatten(2, (self.heads, -1)).transpose(1, 2)
        aligned: Tensor = self.output((self.weights(S, T, mask) @ values).transpose(1, 2).flatten(2))
        return aligned


class ModalityCollaboration(nn.Module):
    """Alignment and cross-modal interaction: S [B, n, D], T [B, m, D] -> S^c, T^c, both [B, m, D]."""

    def __init__(self, width: int, heads: int, units: int, *, excitement: bool) -> None:
        super().__init__()
        self.alignment = AlignmentAttention(width, heads, units)
        self.W = nn.ModuleDict({k: nn.Linear(width, width, bias=False) for k in ("s", "t") if excitement})

    def forward(self, S: Tensor, T: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 3 to 6, with T~ = T. Without excitement, S^c = S~ and T^c = T."""
        aligned = self.alignment(S, T, mask)
        if not self.W:
            return aligned, T
        E_s, E_t = torch.sigmoid(self.W["s"](T)), torch.sigmoid(self.W["t"](aligned))
        return aligned + aligned * E_s, T + T * E_t

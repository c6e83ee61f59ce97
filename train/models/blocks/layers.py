"""Layers that several architectures share; recurrence and attention are only here, so that they are made fast once.

Shapes: B batch, T time steps (Tq of the queries, Tk of the keys), D width, h heads. `lengths` [B] holds the number of
time steps before padding, on any device. A dropout mask is true where a value is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.blocks.recurrence import bidirectional
from emofuse.train.models.blocks.recurrence_operator import bigru

Batch = dict[str, tuple[Tensor, Tensor]]
"""Modality -> (features [B, T, D], lengths [B]), audio first."""


def by_modality(
    audio: Tensor | None, audio_lengths: Tensor | None, text: Tensor | None, text_lengths: Tensor | None
) -> Batch:
    """The arguments of `FusionModel.forward` by modality, without those that are absent."""
    modalities = (("audio", audio, audio_lengths), ("text", text, text_lengths))
    return {m: (x, lengths) for m, x, lengths in modalities if x is not None and lengths is not None}


def time_mask(lengths: Tensor, time: int, device: torch.device) -> Tensor:
    """True before padding, false on padding: [B, `time`]."""
    return torch.arange(time, device=device) < lengths.to(device).unsqueeze(1)


def time_masks(batch: Batch) -> dict[str, Tensor]:
    """Modality -> time mask [B, T]."""
    return {m: time_mask(lengths, x.shape[1], x.device) for m, (x, lengths) in batch.items()}


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean over time without padding: [B, T, ...] -> [B, ...]."""
    mask = time_mask(lengths, x.shape[1], x.device).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
    count = lengths.to(x.device).reshape(-1, *[1] * (x.dim() - 2))
    return x.masked_fill(~mask, 0).sum(1) / count


def masked_max(x: Tensor, lengths: Tensor) -> Tensor:
    """Maximum over time without padding: [B, T, D] -> [B, D]."""
    mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
    return x.masked_fill(~mask, -torch.inf).amax(1)


def masked_softmax(scores: Tensor, lengths: Tensor) -> Tensor:
    """Softmax over time, zero on padding: [B, T] -> [B, T]."""
    mask = time_mask(lengths, scores.shape[1], scores.device)
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)


def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """Sum over time of x [B, T, D], weighted by [B, T]: [B, D]."""
    return torch.einsum("bt,btd->bd", weights, x)


def last_frame(x: Tensor, lengths: Tensor) -> Tensor:
    """The last time step before padding: [B, T, D] -> [B, D]."""
    return x[torch.arange(x.shape[0], device=x.device), lengths.to(x.device) - 1]


def final_states(states: Tensor, lengths: Tensor) -> Tensor:
    """The final state of each direction of a `BiGRU`, concatenated: [B, T, 2 hidden] -> [B, 2 hidden]."""
    half = states.shape[2] // 2
    return torch.cat([last_frame(states, lengths)[:, :half], states[:, 0, half:]], dim=1)


class TimeConvolution(nn.Module):
    """A convolution over time that keeps the length and reads zeros on padding: [B, T, D] -> [B, T, out]."""

    def __init__(self, dimension: int, out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(dimension, out, kernel)
        self.edges = ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Padding of `x` may hold anything; padding of the output is meaningless."""
        mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
        padded = F.pad(x.masked_fill(~mask, 0).transpose(1, 2), self.edges)
        convolved: Tensor = self.convolution(padded).transpose(1, 2)
        return convolved


class BiGRU(nn.Module):
    """A bidirectional GRU that never reads padding: [B, T, D] -> [B, T, 2 hidden], zero on padding.

    Equal to a packed bidirectional `nn.GRU`. The backward direction is a forward GRU on each sequence, reversed within
    its own length, so padding always comes last and cannot reach a real time step.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.forwards = nn.GRU(dimension, hidden, batch_first=True)
        self.backwards = nn.GRU(dimension, hidden, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Both directions, concatenated."""
        return run_bigrus(x, lengths, [self])[0]

    def forward_torch(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The same by `nn.GRU` itself: cuDNN on a GPU, and the reference of the tests."""
        time = torch.arange(x.shape[1], device=x.device)
        mirror = (lengths.to(x.device).unsqueeze(1) - 1 - time).clamp(min=0)
        rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
        ahead, back = self.forwards(x)[0], self.backwards(x[rows, mirror])[0][rows, mirror]
        mask = time_mask(lengths, x.shape[1], x.device).unsqueeze(2)
        return torch.cat([ahead, back], dim=2).masked_fill(~mask, 0)

    def weights(self) -> list[Tensor]:
        """Input and recurrent weights [3 H, D], [3 H, H] and their biases [3 H]: forward, then backward."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return [gru.get_parameter(name) for gru in (self.forwards, self.backwards) for name in names]

    def forward_meta(self, x: Tensor) -> Tensor:
        """On the meta device: the same matrix products for all time steps at once, for counting operations."""
        for gru in (self.forwards, self.backwards):
            state = x.new_empty(*x.shape[:2], gru.hidden_size)
            for values, name in ((x, "weight_ih_l0"), (state, "weight_hh_l0")):
                torch.matmul(values, gru.get_parameter(name).t())
        return x.new_empty(*x.shape[:2], 2 * self.forwards.hidden_size)


def run_bigrus(x: Tensor, lengths: Tensor, layers: Sequence[nn.Module]) -> list[Tensor]:
    """The outputs [B, T, 2 hidden] of several `BiGRU`s of one width on the same sequence [B, T, D].

    On a CPU all of them run in one scan, which is much faster. An exporter records one operator for each, or `nn.GRU`.
    """
    grus = cast("Sequence[BiGRU]", layers)
    if x.device.type == "meta":
        return [gru.forward_meta(x) for gru in grus]
    if torch.compiler.is_exporting():
        return [bigru(x, lengths, gru.weights()) for gru in grus]
    if x.device.type != "cpu" or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return [gru.forward_torch(x, lengths) for gru in grus]
    return bidirectional(x, lengths, [(gru.forwards, gru.backwards) for gru in grus])


class AttentionPooling(nn.Module):
    """Additive attention over time (SMCN eq. 3-6): softmax over t of tanh(W h_t + b) . u, then the weighted sum."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dimension, dimension)
        self.u = nn.Parameter(torch.empty(dimension))
        nn.init.uniform_(self.u, -(dimension**-0.5), dimension**-0.5)

    def weights(self, h: Tensor, lengths: Tensor) -> Tensor:
        """Attention weights [B, T]; zero on padding, and each row sums to one."""
        return masked_softmax(torch.tanh(self.inner(h)) @ self.u, lengths)

    def forward(self, h: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, D] -> [B, D]."""
        return weighted_sum(h, self.weights(h, lengths))


def mlp(dimension: int, hidden: int, out: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them: [..., dimension] -> [..., out]."""
    return nn.Sequential(nn.Linear(dimension, hidden), nn.ReLU(), nn.Linear(hidden, out))


def sinusoids(time: int, dimension: int, device: torch.device) -> Tensor:
    """Position encodings [T, D] (Vaswani et al. 2017, section 3.5): sines in the first half of D, then cosines."""
    half = torch.arange((dimension + 1) // 2, device=device)
    rate = 10000.0 ** (-2 * half / dimension)
    angle = torch.arange(time, device=device).unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :dimension]


def with_positions(x: Tensor) -> Tensor:
    """A sequence [B, T, D] plus its sinusoidal position encodings."""
    return x + sinusoids(x.shape[1], x.shape[2], x.device)


def width_problems(width: int, heads: int) -> list[str]:
    """A line for `Config.problems` if the width is not a multiple of the heads."""
    if width % heads == 0:
        return []
    nearest = -(-width // heads) * heads
    return [f"width={width}, heads={heads}: expected a width that heads divides, such as {nearest}"]


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2).

    Keys have no bias: it would add one constant to all scores of a softmax, so it would have no effect.
    """

    def __init__(self, dimension: int, heads: int) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dimension}")
        self.heads = heads
        self.query, self.value, self.output = (nn.Linear(dimension, dimension) for _ in range(3))
        self.key = nn.Linear(dimension, dimension, bias=False)

    def project(self, query: Tensor, memory: Tensor) -> list[Tensor]:
        """Queries, keys and values of each head: [B, h, Tq, D / h], and twice [B, h, Tk, D / h]."""
        projections = (self.query(query), self.key(memory), self.value(memory))
        return [x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in projections]

    def join(self, attended: Tensor) -> Tensor:
        """The output projection of all heads: [B, h, Tq, D / h] -> [B, Tq, D]."""
        joined: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return joined

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """The attention weights [B, h, Tq, Tk] of `forward`; zero where the mask is false, and rows sum to one.

        For inspection: `forward` computes them in one operation with the weighted sum.
        """
        q, k, _ = self.project(query, memory)
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        return torch.softmax(scores.masked_fill(~_of_all_heads(mask), -torch.inf), dim=3)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Attend from [B, Tq, D] to [B, Tk, D], result [B, Tq, D].

        `mask`, [B, Tk] or [B, Tq, Tk], is true on the keys that may be read, at least one for each query.
        """
        q, k, v = self.project(query, memory)
        return self.join(F.scaled_dot_product_attention(q, k, v, attn_mask=_of_all_heads(mask)))


def _of_all_heads(mask: Tensor) -> Tensor:
    """A mask of keys [B, Tk] or of pairs [B, Tq, Tk] as [B, 1, 1 or Tq, Tk]."""
    return mask.unsqueeze(1) if mask.dim() == 3 else mask[:, None, None, :]


class TransformerLayer(nn.Module):
    """Attention and a feed-forward network, each with a residual and then layer norm (Vaswani et al. 2017).

    Dropout is where that paper has it, on the output of a sub-layer before it is added to the residual.
    """

    def __init__(self, dimension: int, heads: int, feedforward: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention = MultiHeadAttention(dimension, heads)
        self.feedforward = mlp(dimension, feedforward, dimension)
        self.norms = nn.ModuleList(nn.LayerNorm(dimension) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, keep: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D].

        Args:
            x: The queries.
            memory: Keys and values [B, Tk, D]: `x` itself, or another sequence.
            mask: [B, Tk], true on the keys that may be read.
            keep: Dropout masks of both sub-layers [2, B, T, D]; None in evaluation.
        """
        x = self.norms[0](x + apply_dropout(self.attention(x, memory, mask), keep, 0, self.dropout))
        normalised: Tensor = self.norms[1](x + apply_dropout(self.feedforward(x), keep, 1, self.dropout))
        return normalised


class TransformerEncoder(nn.Module):
    """A stack of self-attention layers: [B, T, D] -> [B, T, D]; padding of the output is meaningless."""

    def __init__(self, dimension: int, heads: int, feedforward: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dimension, heads, feedforward, dropout) for _ in range(depth))

    def forward(self, x: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Tensor:
        """`keep` holds the dropout masks [depth, 2, B, T, D]; None in evaluation."""
        mask = time_mask(lengths, x.shape[1], x.device)
        for i, layer in enumerate(self.layers):
            x = layer(x, x, mask, None if keep is None else keep[i])
        return x


def draw_dropout_mask(shape: tuple[int, ...], dropout: float, generator: torch.Generator) -> Tensor:
    """A dropout mask: true with probability 1 - dropout."""
    return torch.empty(shape, dtype=torch.bool, device=generator.device).bernoulli_(1 - dropout, generator=generator)


def draw_stack_masks(
    depths: Mapping[str, int],
    batch: int,
    times: Mapping[str, int],
    width: int,
    dropout: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The dropout masks of stacks of transformer layers: name -> [depth, 2, batch, T, width].

    Args:
        depths: Name of a stack -> its layers. The name is a modality, or ends in `_` and a modality.
        batch: Utterances.
        times: Modality -> time steps T.
        width: Width of all layers.
        dropout: Probability that a value is dropped.
        generator: The source of randomness, read in the order of `depths`.
    """
    shapes = {name: (depth, 2, batch, times[name.rpartition("_")[2]], width) for name, depth in depths.items()}
    return {name: draw_dropout_mask(shape, dropout, generator) for name, shape in shapes.items()}


def apply_dropout(x: Tensor, keep: Tensor | None, index: int, dropout: float) -> Tensor:
    """`x` where the mask `keep[index]` is true, scaled to keep its expectation; `x` itself where `keep` is None."""
    return x if keep is None or not dropout else x.masked_fill(~keep[index], 0) / (1 - dropout)

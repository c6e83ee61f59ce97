"""Several bidirectional GRUs at once on a CPU: the same results as `nn.GRU`, without any work on padding.

A GRU is many small matrix products, one per time step, and `nn.GRU` starts a dozen small operations between two of
them. Here all directions of all GRUs that read the same sequence run side by side. A time step is then one batched
product and seven operations forward, one product and eight operations backward. Whatever does not depend on the
previous time step (the projection of the input, the gradients of the weights) is one large product. Sequences are
packed as in `torch.nn.utils.rnn`: longest utterance first, then time step by time step, each with the utterances that
are that long.

Shapes: B batch, T padded length, D input width, H hidden width, N time steps of all utterances before padding,
G directions (two per GRU: even ones read forwards, odd ones backwards). A frame is one time step of one utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


@dataclass(frozen=True, slots=True)
class Packing:
    """The positions of the N frames of a padded batch [B, T] after packing."""

    counts: list[int]
    """Time step -> utterances that are that long; never rises, sums to N."""
    ahead: Tensor
    """Packed frame -> its position in [B * T], each utterance read from its start."""
    back: Tensor
    """The same, each utterance read from its end."""
    ahead_place: Tensor
    """Position in [B * T] -> packed frame, read from the start; N on padding."""
    back_place: Tensor
    """The same, read from the end."""
    before: Tensor
    """Packed frame, from the second time step on -> packed frame of the same utterance one time step earlier."""

    def steps(self, x: Tensor) -> Sequence[Tensor]:
        """[G, N, ...] split into its time steps."""
        return torch.split(x, self.counts, 1)


def packing(lengths: Tensor, time: int) -> Packing:
    """The packing of a batch [B, `time`] whose utterances have these lengths [B]."""
    true = lengths.numpy()
    order = np.argsort(-true, kind="stable")
    step, row = np.nonzero(true[order] > np.arange(true.max())[:, None])
    counts = np.bincount(step)
    row = order[row]
    ahead, back = row * time + step, row * time + true[row] - 1 - step
    total = len(ahead)
    places = []
    for positions in (ahead, back):
        place = np.full(len(true) * time, total)
        place[positions] = np.arange(total)
        places.append(place)
    starts = np.cumsum(counts) - counts
    later = slice(counts[0], None)
    before = np.arange(total)[later] - starts[step[later]] + starts[step[later] - 1]
    return Packing(counts.tolist(), *map(torch.from_numpy, (ahead, back, *places, before)))


def bidirectional(x: Tensor, lengths: Tensor, pairs: Sequence[tuple[nn.GRU, nn.GRU]]) -> list[Tensor]:
    """The output of each bidirectional GRU on the same sequence: [B, T, D] -> [B, T, 2 H], zero on padding.

    Args:
        x: On a CPU; padding may hold anything.
        lengths: Number of frames before padding [B], at least 1.
        pairs: (forward, backward) GRUs of one layer each, all of one width.
    """
    grus = [gru for pair in pairs for gru in pair]
    hidden = grus[0].hidden_size
    w_ih = _stacked(grus, "weight_ih_l0")
    w_hh = _stacked(grus, "weight_hh_l0")
    b_ih = _stacked(grus, "bias_ih_l0")
    b_hh = _stacked(grus, "bias_hh_l0")
    # The reset gate multiplies the recurrent bias of the new gate; all other recurrent biases join the input's.
    outside, inside = torch.split(b_hh, [2 * hidden, hidden], dim=1)
    bias = b_ih + torch.nn.functional.pad(outside, (0, hidden))
    packed = packing(lengths, x.shape[1])
    outputs: tuple[Tensor, ...] = _Bidirectional.apply(x, w_ih, bias, w_hh, inside.unsqueeze(1), packed)  # type: ignore[no-untyped-call]
    return list(outputs)


def _stacked(grus: Sequence[nn.GRU], name: str) -> Tensor:
    return torch.stack([gru.get_parameter(name) for gru in grus])


class _Bidirectional(torch.autograd.Function):
    """The scan over time steps. Gates are in `nn.GRU`'s order: reset, update, new.

    Recurrent products put the new gate first. The gradients [G, N, 4 H] then hold, in this order: new inside the reset,
    reset, update, new outside. The recurrent products need the first three, the input's products the last three, and
    both are contiguous.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, x: Tensor, w_ih: Tensor, bias: Tensor, w_hh: Tensor, inside: Tensor, packed: Packing
    ) -> tuple[Tensor, ...]:
        directions, hidden, counts, steps = len(w_hh), w_hh.shape[2], packed.counts, packed.steps
        total, first = len(packed.ahead), counts[0]
        frames = x.reshape(-1, x.shape[2])
        sides = [frames.index_select(0, packed.ahead), frames.index_select(0, packed.back)]
        gates = x.new_empty(directions, total, 3 * hidden)
        for g in range(directions):
            torch.addmm(bias[g], sides[g % 2], w_ih[g].t(), out=gates[g])
        recurrent = w_hh.roll(hidden, 1)
        candidates = x.new_empty(directions, total, hidden)
        # The extra frame is zero: positions on padding read it.
        states = x.new_empty(directions, total + 1, hidden)
        states[:, total] = 0
        product = x.new_empty(directions, first, 3 * hidden)
        h, weights = x.new_zeros(directions, first, hidden), recurrent.transpose(1, 2).contiguous()
        time_steps = zip(
            counts,
            steps(gates[..., : 2 * hidden]),
            steps(gates[..., :hidden]),
            steps(gates[..., hidden : 2 * hidden]),
            steps(gates[..., 2 * hidden :]),
            steps(candidates),
            steps(states[:, :total]),
            strict=True,
        )
        active = 0
        for count, both, reset, update, new, candidate, state in time_steps:
            if count != active:
                active, h, recurred = count, h[:, :count], product[:, :count]
                recurred_new, recurred_both = recurred[..., :hidden], recurred[..., hidden:]
            torch.bmm(h, weights, out=recurred)
            torch.add(recurred_new, inside, out=candidate)
            both.add_(recurred_both).sigmoid_()
            new.addcmul_(reset, candidate).tanh_()
            h = torch.lerp(new, h, update, out=state)
        ctx.save_for_backward(*sides, w_ih, recurrent, gates, candidates, states)
        ctx.packed, ctx.shape = packed, x.shape
        places = (packed.ahead_place, packed.back_place)
        sided = [s.index_select(0, places[g % 2]) for g, s in enumerate(states)]
        return tuple(torch.cat(sided[g : g + 2], dim=1).view(*x.shape[:2], 2 * hidden) for g in range(0, directions, 2))

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *sides, w_ih, recurrent, gates, candidates, states = ctx.saved_tensors
        packed: Packing = ctx.packed
        counts, steps, (directions, total, hidden) = packed.counts, packed.steps, candidates.shape
        d_state = candidates.new_empty(directions, total, hidden)
        for pair, grad in enumerate(grads):
            flat = grad.reshape(-1, 2, hidden)
            torch.index_select(flat[:, 0], 0, packed.ahead, out=d_state[2 * pair])
            torch.index_select(flat[:, 1], 0, packed.back, out=d_state[2 * pair + 1])
        d_gates = candidates.new_empty(directions, total, 4 * hidden)
        spare = candidates.new_empty(directions, counts[0], 2 * hidden)
        d_inside, d_new = (steps(d_gates[..., i * hidden : (i + 1) * hidden]) for i in (0, 3))
        d_both, both = (steps(g[..., i * hidden : (i + 2) * hidden]) for g, i in ((d_gates, 1), (gates, 0)))
        d_products = steps(d_gates[..., : 3 * hidden])
        reset, update, new = (steps(gates[..., i * hidden : (i + 1) * hidden]) for i in range(3))
        inside, state, d = steps(candidates), steps(states[:, :total]), steps(d_state)
        initial = candidates.new_zeros(directions, counts[0], hidden)
        active = 0
        for t in range(len(counts) - 1, -1, -1):
            if counts[t] != active:
                active = counts[t]
                work = spare[:, :active]
                first_half, second_half = work[..., :hidden], work[..., hidden:]
            before = state[t - 1][:, :active] if t else initial
            torch.addcmul(d[t], d[t], update[t], value=-1, out=first_half)
            _tanh_backward(first_half, new[t], grad_input=d_new[t])
            torch.mul(d_new[t], reset[t], out=d_inside[t])
            torch.mul(d_new[t], inside[t], out=first_half)
            torch.sub(before, new[t], out=second_half).mul_(d[t])
            _sigmoid_backward(work, both[t], grad_input=d_both[t])
            if t:
                earlier = d[t - 1][:, :active]
                earlier.addcmul_(d[t], update[t])
                earlier.baddbmm_(d_products[t], recurrent)
        sums = d_gates.sum(1)
        d_outside = d_gates[..., hidden:]
        d_w_ih = torch.stack([d_outside[g].t() @ sides[g % 2] for g in range(directions)])
        before = states.index_select(1, packed.before).transpose(1, 2)
        d_w_hh = torch.bmm(before, d_gates[:, counts[0] :, : 3 * hidden]).transpose(1, 2).roll(-hidden, 1)
        d_x = _input_gradient(d_outside, w_ih, packed).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return d_x, d_w_ih, sums[:, hidden:], d_w_hh, sums[:, :hidden].unsqueeze(1), None


def _input_gradient(d_gates: Tensor, w_ih: Tensor, packed: Packing) -> Tensor:
    """The gradient of the input [B * T, D], zero on padding, from those of the gates [G, N, 3 H]."""
    total, width = len(packed.ahead), w_ih.shape[2]
    gradient = None
    for side, place in enumerate((packed.ahead_place, packed.back_place)):
        d = w_ih.new_zeros(total + 1, width)
        for g in range(side, len(w_ih), 2):
            d[:total].addmm_(d_gates[g], w_ih[g])
        spread = d.index_select(0, place)
        gradient = spread if gradient is None else gradient.add_(spread)
    assert gradient is not None
    return gradient

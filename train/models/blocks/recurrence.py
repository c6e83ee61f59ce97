"""Bidirectional GRUs on a CPU, several at once: exact to `nn.GRU`, and never a product or a gate for a padded frame.

A GRU's recurrence is many small products, one after the other, between which `nn.GRU` starts a dozen small operations.
Here the directions of all GRUs that read the same sequence go side by side, so that each time step is one batched
product and seven operations forward, one and eight backward; all that does not wait for the time step before (the
projection of the input, the gradients of the weights) is one large product. Sequences are packed: utterances longest
first, time step after time step, each with only those utterances that are still going on.
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
    """Where the N true frames of a padded batch [B, T] lie when they are packed."""

    counts: list[int]
    """Per time step, the utterances that are still going on; never growing, N in sum."""
    ahead: Tensor
    """Packed frame -> its place in [B * T]."""
    back: Tensor
    """The same, where each utterance is read from its own end."""
    ahead_place: Tensor
    """Place in [B * T] -> packed frame; N on padding."""
    back_place: Tensor
    before: Tensor
    """Packed frame after the first step -> the packed frame of the same utterance one step before."""

    def steps(self, x: Tensor) -> Sequence[Tensor]:
        """Each time step's own frames of [G, N, ...]."""
        return torch.split(x, self.counts, 1)


def packing(lengths: Tensor, time: int) -> Packing:
    """How a batch [B, `time`] of these true lengths [B] is packed."""
    true = lengths.numpy()
    order = np.argsort(-true, kind="stable")
    step, row = np.nonzero(true[order] > np.arange(true.max())[:, None])
    counts = np.bincount(step)
    row = order[row]
    ahead, back = row * time + step, row * time + true[row] - 1 - step
    total = len(ahead)
    places = []
    for where in (ahead, back):
        place = np.full(len(true) * time, total)
        place[where] = np.arange(total)
        places.append(place)
    starts = np.cumsum(counts) - counts
    later = slice(counts[0], None)
    before = np.arange(total)[later] - starts[step[later]] + starts[step[later] - 1]
    return Packing(counts.tolist(), *map(torch.from_numpy, (ahead, back, *places, before)))


def bidirectional(x: Tensor, lengths: Tensor, pairs: Sequence[tuple[nn.GRU, nn.GRU]]) -> list[Tensor]:
    """What each pair of GRUs, one ahead and one back, makes of the same [B, T, D]: [B, T, 2H], zero on padding.

    Args:
        x: On a CPU; padding may hold anything.
        lengths: True lengths [B], at least 1.
        pairs: Each of one layer, all of one width.
    """
    grus = [gru for pair in pairs for gru in pair]
    hidden = grus[0].hidden_size
    w_ih = _stacked(grus, "weight_ih_l0")
    w_hh = _stacked(grus, "weight_hh_l0")
    b_ih = _stacked(grus, "bias_ih_l0")
    b_hh = _stacked(grus, "bias_hh_l0")
    # The new gate's recurrent bias alone stands inside of the reset; the others are one with the input's.
    outside, inside = torch.split(b_hh, [2 * hidden, hidden], dim=1)
    bias = b_ih + torch.nn.functional.pad(outside, (0, hidden))
    packed = packing(lengths, x.shape[1])
    found: tuple[Tensor, ...] = _Bidirectional.apply(x, w_ih, bias, w_hh, inside.unsqueeze(1), packed)  # type: ignore[no-untyped-call]
    return list(found)


def _stacked(grus: Sequence[nn.GRU], name: str) -> Tensor:
    return torch.stack([gru.get_parameter(name) for gru in grus])


class _Bidirectional(torch.autograd.Function):
    """The scan. G directions, even ones ahead and odd ones back; gates in `nn.GRU`'s order, reset, update, new.

    Recurrent products have the new gate first: what they get and what the input's products get are then both one
    block of the gradients (new inside of the reset, reset, update, new outside), [G, N, 4H].
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
        # One more frame, which is zero, for padding to be taken from.
        states = x.new_empty(directions, total + 1, hidden)
        states[:, total] = 0
        product = x.new_empty(directions, first, 3 * hidden)
        h, weights = x.new_zeros(directions, first, hidden), recurrent.transpose(1, 2).contiguous()
        every = zip(
            counts,
            steps(gates[..., : 2 * hidden]),
            steps(gates[..., :hidden]),
            steps(gates[..., hidden : 2 * hidden]),
            steps(gates[..., 2 * hidden :]),
            steps(candidates),
            steps(states[:, :total]),
            strict=True,
        )
        going = 0
        for count, both, reset, update, new, candidate, state in every:
            if count != going:
                going, h, made = count, h[:, :count], product[:, :count]
                made_new, made_both = made[..., :hidden], made[..., hidden:]
            torch.bmm(h, weights, out=made)
            torch.add(made_new, inside, out=candidate)
            both.add_(made_both).sigmoid_()
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
        inside, state, d = (
            steps(candidates),
            steps(states[:, :total]),
            steps(d_state),
        )
        nothing = candidates.new_zeros(directions, counts[0], hidden)
        going = 0
        for t in range(len(counts) - 1, -1, -1):
            if counts[t] != going:
                going = counts[t]
                some = spare[:, :going]
                left, right = some[..., :hidden], some[..., hidden:]
            before = state[t - 1][:, :going] if t else nothing
            torch.addcmul(d[t], d[t], update[t], value=-1, out=left)
            _tanh_backward(left, new[t], grad_input=d_new[t])
            torch.mul(d_new[t], reset[t], out=d_inside[t])
            torch.mul(d_new[t], inside[t], out=left)
            torch.sub(before, new[t], out=right).mul_(d[t])
            _sigmoid_backward(some, both[t], grad_input=d_both[t])
            if t:
                earlier = d[t - 1][:, :going]
                earlier.addcmul_(d[t], update[t])
                earlier.baddbmm_(d_products[t], recurrent)
        sums = d_gates.sum(1)
        of_input = d_gates[..., hidden:]
        d_w_ih = torch.stack([of_input[g].t() @ sides[g % 2] for g in range(directions)])
        before = states.index_select(1, packed.before).transpose(1, 2)
        d_w_hh = torch.bmm(before, d_gates[:, counts[0] :, : 3 * hidden]).transpose(1, 2).roll(-hidden, 1)
        d_x = _of_input(of_input, w_ih, packed).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return d_x, d_w_ih, sums[:, hidden:], d_w_hh, sums[:, :hidden].unsqueeze(1), None


def _of_input(d_gates: Tensor, w_ih: Tensor, packed: Packing) -> Tensor:
    """The gradient of the input [B * T, D], zero on padding."""
    total, width = len(packed.ahead), w_ih.shape[2]
    found = None
    for side, place in enumerate((packed.ahead_place, packed.back_place)):
        d = w_ih.new_zeros(total + 1, width)
        for g in range(side, len(w_ih), 2):
            d[:total].addmm_(d_gates[g], w_ih[g])
        spread = d.index_select(0, place)
        found = spread if found is None else found.add_(spread)
    assert found is not None
    return found

"""Several bidirectional GRUs in one scan equal `nn.GRU`, in values and in gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from emofuse.train.models.blocks.layers import BiGRU, run_bigrus
from emofuse.train.models.blocks.recurrence import packing

CASES = [[1], [5], [7, 7, 7], [3, 9, 1, 4], [1, 1, 6], [2, 8, 8, 1, 5, 3]]


def layers(count: int, dimension: int = 5, hidden: int = 4) -> list[BiGRU]:
    torch.manual_seed(0)
    return [BiGRU(dimension, hidden).double() for _ in range(count)]


def batch(lengths: list[int], longer: int = 0, padding: float = 0.0) -> tuple[Tensor, Tensor]:
    x = torch.full((len(lengths), max(lengths) + longer, 5), padding, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[:length] = torch.randn(length, 5, dtype=torch.float64)
    return x, torch.tensor(lengths)


def gradients(found: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    weights = [torch.randn(f.shape, dtype=f.dtype, generator=torch.Generator().manual_seed(1)) for f in found]
    total = sum((f * w).sum() for f, w in zip(found, weights, strict=True))
    return list(torch.autograd.grad(total, of))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("lengths", CASES, ids=str)
def test_values_and_gradients_equal_those_of_torch(lengths: list[int], count: int) -> None:
    grus = layers(count)
    x, true = batch(lengths)
    x.requires_grad_(True)
    of = [x, *(p for gru in grus for p in gru.parameters())]
    ours, plain = run_bigrus(x, true, grus), [gru.forward_torch(x, true) for gru in grus]
    for one, other in zip([*ours, *gradients(ours, of)], [*plain, *gradients(plain, of)], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_padding_may_hold_anything_and_have_any_length() -> None:
    (gru,) = layers(1)
    torch.manual_seed(3)
    x, lengths = batch([4, 2], longer=3, padding=torch.nan)
    x.requires_grad_(True)
    found = gru(x, lengths)
    (gradient,) = gradients([found], [x])
    assert found.shape == (2, 7, 8)
    assert not found[0, 4:].any()
    assert not found[1, 2:].any()
    assert not gradient[0, 4:].any()
    assert torch.isfinite(gradient).all()
    torch.manual_seed(3)
    bare, _ = batch([4, 2])
    torch.testing.assert_close(found[:, :4], gru(bare, lengths))


def test_an_utterance_has_the_same_result_alone_and_in_a_batch() -> None:
    grus = layers(2)
    x, lengths = batch([3, 9, 1, 4])
    for one, many in zip(run_bigrus(x[3:, :4], lengths[3:], grus), run_bigrus(x, lengths, grus), strict=True):
        torch.testing.assert_close(one[0], many[3, :4], rtol=1e-12, atol=1e-12)


def test_gradients_are_exact_inside_a_larger_network() -> None:
    grus = layers(2)
    x, lengths = batch([3, 5, 1])
    x.requires_grad_(True)

    def network(x: Tensor) -> Tensor:
        first, second = run_bigrus(x, lengths, grus)
        return torch.tanh(first) * second

    assert torch.autograd.gradcheck(network, (x,))


def test_padding_is_not_packed() -> None:
    packed = packing(torch.tensor([2, 5, 1]), 9)
    assert packed.counts == [3, 2, 1, 1, 1]
    assert packed.ahead.tolist() == [9, 0, 18, 10, 1, 11, 12, 13]
    assert packed.back.tolist() == [13, 1, 18, 12, 0, 11, 10, 9]
    assert packed.before.tolist() == [0, 1, 3, 5, 6]
    assert packed.ahead_place.bincount()[-1] == 27 - 8  # all padding reads one zero frame


def test_on_the_meta_device_the_same_products_are_counted() -> None:
    x, lengths = torch.empty(1, 91, 5, device="meta"), torch.tensor([91], device="meta")
    with torch.device("meta"):
        gru = BiGRU(5, 4)
    found = []
    for way in (lambda: run_bigrus(x, lengths, [gru])[0], lambda: gru.forward_torch(x, lengths)):
        with FlopCounterMode(display=False) as counter:
            shape = way().shape
        found.append((shape, counter.get_total_flops()))
    assert found[0] == found[1]

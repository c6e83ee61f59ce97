"""What is put in front of a model: the sum over layers and the gate, by numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import train_samples as samples

from emofuse.train.models.base import Inputs
from emofuse.train.models.front import GATED_WIDTH, Front, ModalityFront, weighted_sum, with_fronts
from emofuse.train.models.registry import MODELS

UNLAYERED = [e.name for e in MODELS if not e.value.layered]


def test_layers_are_summed_by_the_softmax_of_their_weights() -> None:
    # softmax(0, ln 3) = 1/4, 3/4
    x = torch.tensor([[[4.0, 0.0], [8.0, 4.0]]])
    assert torch.allclose(weighted_sum(x, torch.tensor([0.0, math.log(3)])), torch.tensor([[7.0, 3.0]]))


def test_layers_begin_equal_and_features_are_concatenated_in_their_order() -> None:
    front = ModalityFront(Front(parts=((2, 2), (0, 1))))
    found = front(torch.tensor([[[1.0, 2.0, 3.0, 6.0, 9.0]]]))
    assert found.tolist() == [[[2.0, 4.0, 9.0]]]


def test_a_gate_is_a_softmax_over_features_of_each_dimension() -> None:
    front = ModalityFront(Front(parts=((0, 1), (0, 1)), gated=True))
    with torch.no_grad():
        for project, gate, weight in zip(front.project, front.gate, (0.0, math.log(3)), strict=True):
            project.weight.fill_(1.0)
            gate.weight.copy_(torch.tensor([weight, 0.0]).expand(GATED_WIDTH, 2))
    found = front(torch.tensor([[[1.0, 2.0]]]))
    expected = math.tanh(1) / 4 + 3 * math.tanh(2) / 4  # V x = 0 and ln 3
    assert torch.allclose(found, torch.full((1, 1, GATED_WIDTH), expected))


@pytest.mark.parametrize("name", UNLAYERED)
@pytest.mark.parametrize("gated", [False, True])
def test_every_model_takes_a_front_and_padding_changes_nothing(name: str, gated: bool) -> None:
    spec = MODELS[name]
    config = samples.shrunk(spec.preset("iemocap"))
    modalities = spec.modalities
    fronts = {m: Front(parts=((3, 4), (0, 2)), gated=gated) for m in modalities}
    inputs = Inputs(**{m: front.dimension for m, front in fronts.items()}, classes=4)
    torch.manual_seed(0)
    bare = spec.build(config, inputs)
    torch.manual_seed(0)
    model = with_fronts(spec.build(config, inputs), fronts).eval()
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in bare.state_dict().items())
    generator = torch.Generator().manual_seed(1)
    time = 1 if spec.pool != "frames" else 9
    given = {m: (torch.randn(1, time, 14, generator=generator), torch.tensor([time])) for m in modalities}
    padded = {m: (torch.cat([x, torch.zeros(1, 5, 14)], 1), n) for m, (x, n) in given.items()}
    one, two = (
        model(*batch.get("audio", (None, None)), *batch.get("text", (None, None))).logits for batch in (given, padded)
    )
    assert torch.allclose(one, two, atol=1e-5)
    one.sum().backward()
    front = model.get_submodule("front")
    assert all(p.grad is not None for p in front.parameters())

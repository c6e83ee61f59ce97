"""MMRBN's equations on tiny tensors, with numbers computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emofuse.common.errors import UsageError
from emofuse.train.models.base import Inputs, Outputs
from emofuse.train.models.blocks.layers import TransformerLayer
from emofuse.train.models.config import with_settings
from emofuse.train.models.mmrbn import MMRBN, SPEC, CoAttentionLayer, DynamicWeighting, MMRBNConfig, preset

torch.set_num_threads(1)

BOTH = ("audio", "text")
SMALL = MMRBNConfig(width=8, heads=2, feedforward=16, ratio=2)
LABELS = torch.tensor([0, 2, 1, 2])


def model(**settings: Any) -> MMRBN:
    torch.manual_seed(0)
    return MMRBN(replace(SMALL, **settings), Inputs(audio=4, text=5, classes=3))


def ablated(name: str) -> tuple[MMRBN, MMRBNConfig]:
    ablation = SPEC.ablations[name]
    config = replace(SMALL, **ablation.settings)
    reads = ablation.modalities or SPEC.modalities
    torch.manual_seed(0)
    inputs = Inputs(audio=4 if "audio" in reads else None, text=5 if "text" in reads else None, classes=3)
    return MMRBN(config, inputs), config


def batch(modalities: tuple[str, ...] = BOTH) -> tuple[Tensor | None, ...]:
    generator = torch.Generator().manual_seed(1)
    audio, text = (torch.randn(4, t, d, generator=generator) for t, d in ((6, 4), (3, 5)))
    sides = {"audio": (audio, torch.tensor([6, 4, 1, 5])), "text": (text, torch.tensor([2, 3, 3, 1]))}
    return tuple(x for m in BOTH for x in (sides[m] if m in modalities else (None, None)))


def streams(**changed: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {"audio": torch.randn(1, 5, 8, generator=generator), "text": torch.randn(1, 3, 8, generator=generator)} | {
        **changed
    }


def pair(x: dict[str, Tensor], layer: nn.Module) -> dict[str, Tensor]:
    masks = {m: torch.ones(x[m].shape[:2], dtype=torch.bool) for m in BOTH}
    found: dict[str, Tensor] = layer(x, masks, dict.fromkeys(BOTH))
    return found


def weighting() -> DynamicWeighting:
    block = DynamicWeighting(2, 2)
    with torch.no_grad():
        block.integrate.weight.fill_(1.0)
        block.integrate.bias.zero_()
        for m, column in (("audio", [[0.2], [0.0]]), ("text", [[0.0], [0.2]])):
            block.importance[m].weight.copy_(torch.tensor(column))
    return block


R_A, R_T = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])


def test_weights_are_a_softmax_over_the_two_modalities_in_each_channel() -> None:
    found = weighting().weights(R_A, R_T)
    expected = torch.tensor([[[0.7311, 0.2689]], [[0.2689, 0.7311]]])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.sum(0), torch.ones(1, 2))
    torch.testing.assert_close(weighting()(R_A, R_T), torch.tensor([[1.5379, -0.1932]]), atol=1e-4, rtol=0)


def test_weights_do_not_sum_to_one_over_channels() -> None:
    torch.manual_seed(0)
    found = DynamicWeighting(8, 2).weights(torch.randn(3, 8), torch.randn(3, 8))
    torch.testing.assert_close(found.sum(0), torch.ones(3, 8))
    assert (found.sum(2) - 1).abs().min() > 0.1


def test_where_the_relu_is_zero_the_fusion_is_the_mean_so_equation_2_has_no_bias() -> None:
    block = weighting()
    torch.testing.assert_close(block.weights(-R_A, -R_T), torch.full((2, 1, 2), 0.5))
    torch.testing.assert_close(block(-R_A, -R_T), -(R_A + R_T) / 2)
    assert {n for n, _ in block.importance.named_parameters()} == {"audio.weight", "text.weight"}


def test_the_first_layer_adds_the_modalities_and_narrows_by_the_ratio() -> None:
    block = DynamicWeighting(8, 4)
    assert tuple(block.integrate.weight.shape) == (2, 8)
    assert block.integrate.bias is not None
    one, other = torch.randn(2, 3, 8)
    torch.testing.assert_close(block.weights(one, other), block.weights(other, one))


@pytest.mark.parametrize("name", ["heads", "ratio"])
def test_a_width_that_does_not_divide_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"width=256, {name}=6: expected a width that {name} divides, such as 258"):
        with_settings(preset("iemocap"), [f"{name}=6"], BOTH)


def test_a_ratio_without_effect_is_not_checked() -> None:
    assert replace(SMALL, ratio=3).problems(None)
    assert replace(SMALL, ratio=3, fusion="add").problems("MMRBN_add") == []
    assert replace(SMALL, ratio=3, audio_layers=6).problems("AM_6") == []


def test_both_halves_of_a_co_attention_layer_read_its_inputs() -> None:
    layer = CoAttentionLayer(8, 2, 16, 0.0)
    before = pair(streams(), layer)
    elsewhere = pair(streams(text=torch.randn(1, 3, 8)), layer)
    assert not torch.allclose(elsewhere["audio"], before["audio"], atol=1e-3)
    with torch.no_grad():
        for p in layer.halves["text"].feedforward.parameters():
            p.add_(1.0)
    after = pair(streams(), layer)
    assert torch.equal(after["audio"], before["audio"])
    assert not torch.allclose(after["text"], before["text"])


def test_the_residual_is_the_querys_own_stream_and_no_self_attention_follows() -> None:
    layer = CoAttentionLayer(8, 2, 16, 0.0)
    with torch.no_grad():
        for half in layer.halves.values():
            for p in half.attention.output.parameters():
                p.zero_()
    before = pair(streams(), layer)
    one_frame = streams()["audio"].clone()
    one_frame[0, 0] += torch.randn(8)
    after = pair(streams(audio=one_frame), layer)
    assert torch.equal(after["text"], before["text"])
    assert not torch.allclose(after["audio"][:, 0], before["audio"][:, 0])
    assert torch.equal(after["audio"][:, 1:], before["audio"][:, 1:])
    assert sum(isinstance(m, TransformerLayer) for m in layer.modules()) == 2


def test_a_streams_mask_hides_it_only_from_the_other_stream() -> None:
    layer, x = CoAttentionLayer(8, 2, 16, 0.0), streams()
    masks = {"audio": torch.tensor([[True, True, False, False, False]]), "text": torch.ones(1, 3, dtype=torch.bool)}
    short = pair(x | {"audio": x["audio"][:, :2]}, layer)
    found = layer(x, masks, dict.fromkeys(BOTH))
    torch.testing.assert_close(found["text"], short["text"])
    torch.testing.assert_close(found["audio"][:, :2], short["audio"])


def test_each_layer_ends_in_a_layer_norm() -> None:
    network, seen = model(), []
    for part in network.modules():
        if isinstance(part, TransformerLayer):
            part.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network(*batch())
    assert len(seen) == 4 + 2 + 2 * 2
    for x in seen:
        torch.testing.assert_close(x.mean(-1), torch.zeros(x.shape[:-1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.var(-1, unbiased=False), torch.ones(x.shape[:-1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("weights", [(0.25, 0.25, 0.5), (0.1, 0.6, 0.3), (0.0, 0.5, 0.5), (0.0, 0.0, 1.0)])
def test_the_loss_of_three_uniform_heads_is_ln_c(weights: tuple[float, ...]) -> None:
    network = model(**dict(zip(("alpha", "beta", "gamma"), weights, strict=True)))
    for p in network.heads.parameters():
        nn.init.zeros_(p)
    assert network.loss(network(*batch()), LABELS).item() == pytest.approx(math.log(3))
    assert len(network.heads) == sum(w > 0 for w in weights)


def test_the_loss_is_the_weighted_sum_of_three_terms() -> None:
    uniform, sure = torch.zeros(1, 3), torch.tensor([[math.log(2), 0.0, 0.0]])
    found = Outputs(logits=sure, aux={"logits_audio": uniform, "logits_text": uniform})
    loss = model(alpha=0.1, beta=0.2, gamma=0.7).loss(found, torch.tensor([0]))
    assert loss.item() == pytest.approx(0.3 * math.log(3) + 0.7 * math.log(2))
    found = Outputs(logits=uniform, aux={"logits_audio": sure, "logits_text": uniform})
    loss = model(alpha=0.1, beta=0.2, gamma=0.7).loss(found, torch.tensor([0]))
    assert loss.item() == pytest.approx(0.9 * math.log(3) + 0.1 * math.log(2))


def test_loss_weights_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(UsageError, match=r"alpha=0.5, beta=0.25, gamma=0.5 sum to 1.25; expected 1: change one"):
        with_settings(preset("iemocap"), ["alpha=0.5"], BOTH)
    assert with_settings(preset("iemocap"), ["alpha=0.3", "beta=0.3", "gamma=0.4"], BOTH).gamma == 0.4


def test_only_the_head_on_the_fused_vector_predicts() -> None:
    network = model()
    before = network(*batch())
    torch.testing.assert_close(before.logits, network.heads["fused"](before.aux["fused"]))
    with torch.no_grad():
        for m in BOTH:
            network.heads[m].weight.mul_(2.0)
    after = network(*batch())
    assert torch.equal(after.logits, before.logits)
    assert not torch.allclose(after.aux["logits_audio"], before.aux["logits_audio"])


def test_the_auxiliary_heads_come_after_the_cross_attention() -> None:
    network = model()
    audio, audio_lengths, text, text_lengths = batch()
    assert text is not None
    found = network(audio, audio_lengths, text.requires_grad_(), text_lengths).aux
    torch.testing.assert_close(found["logits_audio"], network.heads["audio"](found["R_audio"]))
    (gradient,) = torch.autograd.grad(found["logits_audio"].square().sum(), [text])
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(("audio_layers", "text_layers"), [(2, 2), (4, 4), (2, 4)])
def test_rule_1_is_enforced(audio_layers: int, text_layers: int) -> None:
    with pytest.raises(UsageError, match=r"expected more audio than text layers .* MMRBN_2 or MMRBN_4"):
        with_settings(
            preset("iemocap"), [f"audio_layers={audio_layers}", f"text_layers={text_layers}"], BOTH, "MMRBN_add"
        )


@pytest.mark.parametrize(("name", "depth"), [("MMRBN_2", 2), ("MMRBN_4", 4)])
def test_two_ablations_may_break_rule_1(name: str, depth: int) -> None:
    network, config = ablated(name)
    assert config.problems(name) == []
    assert config.problems(None) != []
    assert [len(network.encoders[m].layers) for m in BOTH] == [depth, depth]


def test_pooling_divides_by_the_true_length() -> None:
    network, seen = model(), []
    network.cross_attention[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    audio, lengths, text, text_lengths = batch()
    assert lengths is not None
    found = network(audio, lengths, text, text_lengths).aux["R_audio"]
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row], seen[0]["audio"][row, :length].mean(0))


@pytest.mark.parametrize("name", list(SPEC.ablations))
def test_every_parameter_of_every_ablation_receives_a_gradient(name: str) -> None:
    network, config = ablated(name)
    modalities = SPEC.ablations[name].modalities or SPEC.modalities
    draws = network.draw(4, 6, 3, torch.Generator().manual_seed(0))
    network.loss(network(*batch(modalities), draws=draws), LABELS).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert config.problems(name) == []


@pytest.mark.parametrize(("name", "modality"), [("AM_6", "audio"), ("TM_6", "text")])
def test_a_single_modality_has_six_layers_one_head_and_one_loss(name: str, modality: str) -> None:
    network, _ = ablated(name)
    assert sum(isinstance(m, TransformerLayer) for m in network.modules()) == 6
    assert {n.split(".")[0] for n, _ in network.named_parameters()} == {"resize", "encoders", "heads"}
    found = network(*batch((modality,)))
    assert torch.equal(found.aux["fused"], found.aux[f"R_{modality}"])
    assert network.loss(found, LABELS).item() == pytest.approx(nn.functional.cross_entropy(found.logits, LABELS).item())


def test_concatenation_and_addition_keep_the_three_losses() -> None:
    for name, fuse in (("MMRBN_conca", lambda a, t: torch.cat([a, t], dim=1)), ("MMRBN_add", torch.add)):
        network, _ = ablated(name)
        found = network(*batch())
        torch.testing.assert_close(found.aux["fused"], fuse(found.aux["R_audio"], found.aux["R_text"]))
        assert sorted(network.terms(found, LABELS)) == ["audio", "fused", "text"]
        assert not hasattr(network, "weighting")
        assert network.heads["fused"].in_features == found.aux["fused"].shape[1]


@pytest.mark.parametrize(("positions", "moved"), [("none", False), ("sinusoidal", True)])
def test_only_positions_make_the_order_of_frames_matter(positions: str, moved: bool) -> None:
    network, x = model(positions=positions), torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    text, lengths, text_lengths = torch.ones(1, 2, 5), torch.tensor([5]), torch.tensor([2])
    before, after = (network(y, lengths, text, text_lengths).logits for y in (x, x.flip(1)))
    assert torch.allclose(before, after, atol=1e-5) != moved


def test_dropout_comes_only_from_the_generator() -> None:
    network = model(dropout=0.5)
    seeds = (0, 0, 1)
    found = [network(*batch(), draws=network.draw(4, 6, 3, torch.Generator().manual_seed(s))).logits for s in seeds]
    assert torch.equal(found[0], found[1])
    assert all(not torch.allclose(a, b) for a, b in pairwise([network(*batch()).logits, *found[1:]]))
    calm = model(dropout=0.0)
    draws = calm.draw(4, 6, 3, torch.Generator().manual_seed(0))
    assert torch.equal(calm(*batch(), draws=draws).logits, calm(*batch()).logits)


def test_every_layer_draws_its_own_dropout() -> None:
    shapes = {k: tuple(v.shape) for k, v in model().draw(4, 6, 3, torch.Generator()).items()}
    assert shapes == {
        "audio": (4, 2, 4, 6, 8),
        "text": (2, 2, 4, 3, 8),
        "cross_audio": (2, 2, 4, 6, 8),
        "cross_text": (2, 2, 4, 3, 8),
    }


@pytest.mark.parametrize("name", ["audio", "text", "cross_audio", "cross_text"])
def test_each_draw_reaches_its_layers(name: str) -> None:
    network = model(dropout=0.5)
    whole = {k: torch.ones_like(v) for k, v in network.draw(4, 6, 3, torch.Generator()).items()}
    before, after = (
        network(*batch(), draws=draws).logits for draws in (whole, whole | {name: torch.zeros_like(whole[name])})
    )
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_preset_has_the_papers_values_and_our_choices() -> None:
    expected = {"width": 256, "heads": 4, "feedforward": 1024, "dropout": 0.1, "audio_layers": 4, "text_layers": 2}
    expected |= {"cross_layers": 2, "ratio": 4, "alpha": 0.25, "beta": 0.25, "gamma": 0.5, "lr": 1e-4, "batch": 32}
    expected |= {"steps": 2500, "epochs": 0, "max_frames": 1250, "max_words": 150}
    config = preset("iemocap")
    assert {k: getattr(config, k) for k in expected} == expected
    assert (config.fusion, config.positions, config.problems(None)) == ("dynamic", "none", [])
    assert dict(SPEC.features) == {"audio": "hubert", "text": "bert"}

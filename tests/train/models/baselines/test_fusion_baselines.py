"""The published fusion baselines on tiny tensors, computed by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from emofuse.common.errors import UsageError
from emofuse.train.models.base import FusionModel, Inputs
from emofuse.train.models.baselines.cme import Excitement, word_frames
from emofuse.train.models.baselines.gban import GBAN, AlignedMean, GatedGroup, halved
from emofuse.train.models.baselines.ks_transformer import (
    KeySparseAttention,
    KeySparseLayer,
    KeySparseStream,
    KSTransformerConfig,
    strongest_keys,
)
from emofuse.train.models.baselines.lmf import LowRankFusion
from emofuse.train.models.baselines.mult import CrossmodalLayer, MulTConfig, causal_mask
from emofuse.train.models.baselines.tfn import UtteranceEmbeddings, outer_product
from emofuse.train.models.blocks.layers import (
    MultiHeadAttention,
    TimeConvolution,
    TransformerLayer,
    last_frame,
    time_mask,
)
from emofuse.train.models.config import with_settings
from emofuse.train.models.registry import MODELS

torch.set_num_threads(1)

NAMES = ("a-lstm", "cme", "gban", "ks-transformer", "mult", "lmf", "tfn")
SMALL = {"width": 8, "heads": 2, "feedforward": 16, "units": 8, "hidden": 8, "rank": 3}


def build(name: str, **settings: Any) -> FusionModel:
    torch.manual_seed(0)
    config = MODELS[name].preset("iemocap")
    known = {f.name for f in dataclasses.fields(config)}
    sizes = {k: v for k, v in SMALL.items() if k in known} | settings
    return MODELS[name].build(dataclasses.replace(config, **sizes), Inputs(audio=4, text=5, classes=3))


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    audio, text = (torch.randn(2, t, d, generator=generator) for t, d in ((6, 4), (3, 5)))
    return audio.requires_grad_(), torch.tensor([6, 4]), text.requires_grad_(), torch.tensor([2, 3])


# All of them.


@pytest.mark.parametrize("name", NAMES)
def test_both_modalities_reach_every_logit(name: str) -> None:
    audio, lengths, text, text_lengths = inputs()
    logits = build(name)(audio, lengths, text, text_lengths).logits
    for column in logits.unbind(1):
        assert all(g.abs().sum() > 0 for g in torch.autograd.grad(column.sum(), [audio, text], retain_graph=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_input_of_the_classifier_is_fused(name: str) -> None:
    network = build(name)
    found = network(*inputs())
    classifier = network.classifier
    torch.testing.assert_close(classifier(found.aux["fused"]), found.logits)  # type: ignore[operator]


@pytest.mark.parametrize("name", [n for n in NAMES if n != "cme"])
def test_dropout_comes_only_from_the_draws(name: str) -> None:
    network = build(name, dropout=0.5).train()
    draws = network.draw(2, 6, 3, torch.Generator().manual_seed(0))
    again = network.draw(2, 6, 3, torch.Generator().manual_seed(0))
    plain, one, two = (network(*inputs(), draws=d).logits for d in (None, draws, again))
    assert torch.equal(one, two)
    assert torch.equal(plain, network(*inputs()).logits)
    assert not torch.allclose(plain, one)
    for key in draws:
        kept = {k: v if k == key else torch.ones_like(v) for k, v in draws.items()}
        every = {k: torch.ones_like(v) for k, v in draws.items()}
        assert not torch.allclose(*(network(*inputs(), draws=d).logits for d in (kept, every)))


@pytest.mark.parametrize("name", ["ks-transformer", "mult"])
def test_heads_must_divide_the_width(name: str) -> None:
    with pytest.raises(UsageError, match="heads=7: expected a width that heads divides"):
        with_settings(MODELS[name].preset("iemocap"), ["heads=7"], ("audio", "text"))


def test_the_last_frame_is_not_padding() -> None:
    x = torch.arange(8.0).reshape(2, 4, 1)
    assert last_frame(x, torch.tensor([4, 2])).tolist() == [[3.0], [5.0]]


def test_a_convolution_over_time_keeps_the_length_and_reads_no_padding() -> None:
    for kernel, expected in ((1, [1.0, 2.0, 4.0]), (2, [3.0, 6.0, 4.0]), (3, [3.0, 7.0, 6.0]), (5, [7.0, 7.0, 7.0])):
        layer = TimeConvolution(1, 1, kernel)
        nn.init.ones_(layer.convolution.weight)
        nn.init.zeros_(layer.convolution.bias)  # type: ignore[arg-type]
        x = torch.tensor([[[1.0], [2.0], [4.0], [1000.0]]])
        assert layer(x, torch.tensor([3]))[0, :3, 0].tolist() == expected
        assert layer(x, torch.tensor([3])).shape == x.shape


# TFN and LMF.


def test_tfn_outer_product_keeps_each_modality_beside_their_products() -> None:
    found = outer_product(torch.tensor([[2.0]]), torch.tensor([[3.0, 5.0]]))
    assert found.tolist() == [[[6.0, 10.0, 2.0], [3.0, 5.0, 1.0]]]


def test_tfn_text_is_both_final_states_and_audio_a_mean() -> None:
    part = UtteranceEmbeddings(Inputs(audio=2, text=3, classes=2), 4, 5, 1, 0, 0.0)
    text, lengths = torch.randn(3, 6, 3), torch.tensor([6, 1, 4])
    audio, audio_lengths = torch.randn(3, 2, 2), torch.tensor([1, 2, 2])
    z_a, z_l = part(audio, audio_lengths, text, lengths, None)
    packed = nn.GRU(3, 5, batch_first=True, bidirectional=True)
    own = part.gru.state_dict()
    names = {k: f"{'back' if 'reverse' in k else 'for'}wards.{k.removesuffix('_reverse')}" for k in packed.state_dict()}
    packed.load_state_dict({k: own[name] for k, name in names.items()})
    final = packed(pack_padded_sequence(text, lengths, batch_first=True, enforce_sorted=False))[1]
    torch.testing.assert_close(z_l, torch.cat([final[0], final[1]], dim=1))
    torch.testing.assert_close(z_a[0], torch.relu(part.audio[0](audio[0, 0])))


def low_rank(weights: list[float]) -> Tensor:
    """h of z_a = 2, z_l = 3: the first term is (2 + 1) 3 = 9, the second (0 + 2) (-3 + 2) = -2."""
    fusion = LowRankFusion((1, 1), 1, 2)
    with torch.no_grad():
        fusion.factors[0].copy_(torch.tensor([[[1.0], [1.0]], [[0.0], [2.0]]]))
        fusion.factors[1].copy_(torch.tensor([[[1.0], [0.0]], [[-1.0], [2.0]]]))
        fusion.weights.copy_(torch.tensor(weights))
    return fusion(torch.tensor([[2.0]]), torch.tensor([[3.0]]))


def test_lmf_equation_8_is_a_sum_of_products_not_a_product_of_sums() -> None:
    assert low_rank([1.0, 1.0]).item() == 7.0  # the last line of equation 6 would give (3 + 2) (3 - 1) = 10
    assert low_rank([1.0, 0.5]).item() == 8.0


def test_lmf_equals_the_full_tensor_product() -> None:
    torch.manual_seed(0)
    fusion, a, t = LowRankFusion((3, 4), 5, 2), torch.randn(6, 3), torch.randn(6, 4)
    nn.init.normal_(fusion.weights)
    full = torch.einsum("r,rih,rjh->ijh", fusion.weights, fusion.factors[0], fusion.factors[1])
    torch.testing.assert_close(fusion(a, t), torch.einsum("bij,ijh->bh", outer_product(a, t), full))


def test_lmf_starts_with_equal_weights_of_one() -> None:
    assert LowRankFusion((3, 4), 5, 2).weights.tolist() == [1.0, 1.0]


# CME.


@pytest.mark.parametrize(
    ("frames", "words", "expected"),
    [(4, 2, [[0, 1], [2, 3]]), (5, 2, [[0, 1], [2, 3, 4]]), (2, 4, [[0], [0], [1], [1]]), (3, 1, [[0, 1, 2]])],
)
def test_cme_frames_are_assigned_to_words_in_order(frames: int, words: int, expected: list[list[int]]) -> None:
    x = torch.tensor([3.0, -2.0, 5.0, 1.0, 4.0, 1000.0, 1000.0]).reshape(1, 7, 1)
    mean, maximum = word_frames(x, torch.tensor([frames]), words + 2, torch.tensor([words]))
    own = [x[0, f, 0] for f in expected]
    torch.testing.assert_close(mean[0, :words, 0], torch.stack([o.mean() for o in own]))
    torch.testing.assert_close(maximum[0, :words, 0], torch.stack([o.max() for o in own]))


def test_cme_the_gradient_of_a_maximum_goes_to_its_frame() -> None:
    x = torch.tensor([[[3.0], [-2.0], [5.0], [1.0]]], requires_grad=True)
    word_frames(x, torch.tensor([4]), 2, torch.tensor([2]))[1].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.0, 0.0, 1.0, 0.0]


def test_cme_excitement_adds_a_share_between_zero_and_one() -> None:
    part, x, other = Excitement(2, 3), torch.tensor([[[2.0, -4.0]]]), torch.randn(1, 1, 3)
    gate = part.gate(other)
    assert ((gate > 0) & (gate < 1)).all()
    torch.testing.assert_close(part(x, other), x * (1 + gate))
    nn.init.zeros_(part.linear.weight)
    nn.init.zeros_(part.linear.bias)
    assert part(x, other).tolist() == [[[3.0, -6.0]]]


def test_cme_each_modality_excites_the_other_as_it_was_before() -> None:
    network, seen = build("cme"), []
    for part in (network.excite_text, network.excite_audio):
        part.register_forward_hook(lambda _, given, __: seen.append(given))  # type: ignore[operator, union-attr]
    network(*inputs())
    (s, a), (excited_a, by_s) = seen
    assert torch.equal(s, by_s)
    assert torch.equal(a, excited_a)


# GBAN.


def test_gban_equations_9_to_11_weigh_by_a_tanh_and_average_over_the_other_modality() -> None:
    # Scores tanh(0), tanh(2) for the first step of the other modality, tanh(0), tanh(-1) for the second; padding of
    # both would change everything.
    x, other = torch.tensor([[[0.0], [1.0], [9.0]]]), torch.tensor([[[2.0], [-1.0], [50.0]]])
    weights = AlignedMean().weights(x, torch.tensor([2]), other)[0, :2]
    torch.testing.assert_close(weights, torch.tensor([[0.2761, 0.7239, 0], [0.6817, 0.3183, 0]]), atol=1e-4, rtol=0)
    found = AlignedMean()(x, torch.tensor([2]), other, torch.tensor([2]))
    torch.testing.assert_close(found, torch.tensor([[(0.7239 + 0.3183) / 2]]), atol=1e-4, rtol=0)


def test_gban_equations_15_to_17_mix_both_by_a_gate_without_biases() -> None:
    group = GatedGroup(1, 1)
    for parameter, value in zip((group.audio, group.text, group.gate), (1.0, -1.0, 0.5), strict=True):
        nn.init.constant_(parameter.weight, value)
    # z = sigmoid(0.5 (1 + 2)) = .8176; z tanh(1) + (1 - z) tanh(-2)
    found = group(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.8176 * 0.7616 - 0.1824 * 0.9640]]), atol=1e-4, rtol=0)
    assert not group(torch.zeros(1, 1), torch.zeros(1, 1)).any()


def test_gban_pooling_halves_the_length_rounded_up_and_reads_no_padding() -> None:
    x = torch.tensor([[[1.0], [3.0], [-2.0], [9.0], [9.0]], [[5.0], [9.0], [9.0], [9.0], [9.0]]])
    pooled, lengths = halved(x, torch.tensor([3, 1]))
    assert pooled[:, :, 0].tolist() == [[3.0, 0.0, 0.0], [5.0, 0.0, 0.0]]
    assert lengths.tolist() == [2, 1]


def test_gban_adds_the_groups_of_aligned_vectors_and_of_last_states() -> None:
    network, given, seen = build("gban", encoder_layers=1).eval(), inputs(), {}
    for name in ("aligned", "last", "hidden_layer"):
        network.get_submodule(name).register_forward_hook(lambda *call, to=name: seen.update({to: call}))
    found = network(*given)
    h = seen["aligned"][2] + seen["last"][2]
    torch.testing.assert_close(seen["hidden_layer"][1][0], h)
    assert isinstance(network, GBAN)
    torch.testing.assert_close(found.aux["fused"], torch.relu(h @ network.hidden_layer.weight.T))
    # What is aligned is not what is last.
    assert not torch.allclose(seen["aligned"][1][0], seen["last"][1][0])


def test_gban_is_as_large_as_its_authors_code() -> None:
    network = MODELS["gban"].build(MODELS["gban"].preset("iemocap"), Inputs(audio=52, text=300, classes=4))
    assert isinstance(network, GBAN)
    convolutions = [m.weight.shape[:2] for m in network.speech.convolutions.modules() if isinstance(m, nn.Conv1d)]
    assert [tuple(shape) for shape in convolutions] == [(12, 52), (20, 12), (28, 20), (36, 28)]
    assert network.words.channels == 384
    assert network.classifier.weight.shape == (4, 128)


# KS-Transformer.


def test_ks_keeps_the_strongest_keys_of_each_head_and_never_padding() -> None:
    importance = torch.tensor([[[0.1, 0.9, 0.4, 0.6, 0.0, 0.0]], [[0.3, 0.2, 0.9, 9.0, 9.0, 9.0]]])
    keys = torch.tensor([[True] * 4 + [False] * 2, [True] * 3 + [False] * 3])
    kept = strongest_keys(importance.repeat(1, 2, 1), keys, 0.5)
    assert kept[:, 0].int().tolist() == [[0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0]]
    assert torch.equal(kept[:, 0], kept[:, 1])


@pytest.mark.parametrize(
    ("length", "share", "count"), [(1, 0.5, 1), (5, 0.5, 2), (6, 0.5, 3), (6, 0.01, 1), (6, 1.0, 6)]
)
def test_ks_share_is_of_the_utterances_own_length(length: int, share: float, count: int) -> None:
    for padding in (0, 4):
        keys = time_mask(torch.tensor([length]), length + padding, torch.device("cpu"))
        assert strongest_keys(torch.rand(1, 1, length + padding), keys, share).sum().item() == count


def test_ks_keeps_equal_importances_at_the_threshold() -> None:
    assert strongest_keys(torch.tensor([[[0.5, 0.5, 0.5, 0.1]]]), torch.ones(1, 4).bool(), 0.5).sum() == 3


def test_ks_importance_ignores_padded_queries_and_kept_weights_are_unchanged() -> None:
    attention = KeySparseAttention(1, 1, 0.5)
    for parameter in attention.parameters():
        nn.init.ones_(parameter) if parameter.dim() == 2 else nn.init.zeros_(parameter)
    # Scores are q k: the first query prefers the first key by e^2, the second has no preference, the padded one would
    # reverse the importances. Weights [.8808, .1192] and [.5, .5]; only the first key is kept, with value 2.
    query, memory = torch.tensor([[[1.0], [0.0], [-50.0]]]), torch.tensor([[[2.0], [0.0]]])
    mask = torch.tensor([[[True, True], [True, True], [False, False]]])
    found = attention(query, memory, mask)
    torch.testing.assert_close(found[0, :2, 0], torch.tensor([2 * 0.8808, 1.0]), atol=1e-4, rtol=0)
    assert found.isfinite().all()


def test_ks_keeping_all_keys_is_a_transformer_layer() -> None:
    sparse = KeySparseLayer(KSTransformerConfig(width=8, heads=2, feedforward=16, share=1.0))
    plain = TransformerLayer(8, 2, 16)
    plain.load_state_dict(sparse.state_dict())
    assert isinstance(plain.attention, MultiHeadAttention)
    x, memory = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    keys, queries = (time_mask(torch.tensor(n), t, x.device) for n, t in (([4, 3], 4), ([5, 2], 5)))
    found = sparse(x, memory, queries.unsqueeze(2) & keys.unsqueeze(1))
    torch.testing.assert_close(found[queries], plain(x, memory, keys)[queries])


def test_ks_blocks_are_cascaded_with_one_skip_and_then_fused() -> None:
    torch.manual_seed(0)
    stream = KeySparseStream(KSTransformerConfig(width=8, heads=2, feedforward=16, cross_layers=2, fusion_layers=1))
    own, other = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    within, across = torch.ones(2, 5, 5).bool(), torch.ones(2, 5, 4).bool()
    x = own
    for cross, blend in zip(stream.cross, stream.blend, strict=True):
        x = cross(x, other, across)
        x = blend(x, x, within)
    x = x + own
    expected = stream.fusion[0](x, x, within)
    torch.testing.assert_close(stream(own, other, within[:, 0], across[:, 0], None), expected)


def test_ks_a_share_below_one_changes_the_result() -> None:
    half, every = (build("ks-transformer", share=share)(*inputs()).logits for share in (0.5, 1.0))
    assert not torch.allclose(half, every)


def test_ks_code_normalises_what_each_stack_reads_and_adds_the_extracted_features_twice() -> None:
    torch.manual_seed(0)
    config = KSTransformerConfig(width=8, heads=2, feedforward=16, cross_layers=2, fusion_layers=2, variant="code")
    stream = KeySparseStream(config)
    for parameter in stream.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    own, other = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    within, across = torch.ones(2, 5, 5).bool(), torch.ones(2, 5, 4).bool()
    x = own
    for i in range(2):
        x = stream.cross[i](stream.query_openings[i](x), stream.key_openings[i](other), across)
        x = stream.blend_openings[i](x)
        x = stream.blend[i](x, x, within)
    x = stream.fusion_opening((x + own) + own)
    for layer in stream.fusion:
        x = layer(x, x, within)
    torch.testing.assert_close(stream(own, other, within[:, 0], across[:, 0], None), x)


def test_ks_code_has_three_norms_for_each_block_and_one_for_each_other_stack() -> None:
    sizes = {v: sum(p.numel() for p in build("ks-transformer", variant=v).parameters()) for v in ("paper", "code")}
    # In each of two streams: extraction, three of each of three blocks, fusion; a norm has 2 x 8 parameters.
    assert sizes["code"] - sizes["paper"] == 2 * (1 + 3 * 3 + 1) * 16
    paper, code = (build("ks-transformer", variant=v)(*inputs()).logits for v in ("paper", "code"))
    assert not torch.allclose(paper, code)


@pytest.mark.parametrize(("name", "setting"), [("ks-transformer", {"variant": "code"}), ("mult", {"causal": True})])
def test_the_networks_of_the_authors_code_ignore_padding_and_train_every_parameter(
    name: str, setting: dict[str, Any]
) -> None:
    network, (audio, lengths, text, text_lengths) = build(name, **setting).eval(), inputs()
    found = network(audio, lengths, text, text_lengths)
    padded = (nn.functional.pad(x, (0, 0, 0, 5), value=1e3) for x in (audio, text))
    longer = network(next(padded), lengths, next(padded), text_lengths)
    torch.testing.assert_close(longer.logits, found.logits)
    alone = network(audio[1:, :4], lengths[1:], text[1:], text_lengths[1:])
    torch.testing.assert_close(alone.logits, found.logits[1:])
    network.loss(found, torch.tensor([0, 2])).backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


# MulT.


def test_mult_a_causal_query_reads_as_many_keys_more_as_the_lengths_differ() -> None:
    audio, text = (time_mask(torch.tensor(n), t, torch.device("cpu")) for n, t in (([4, 2], 5), ([3, 3], 3)))
    assert causal_mask(audio, audio)[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
    ]
    assert causal_mask(audio, text)[0].int().tolist()[:3] == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    assert causal_mask(text, audio)[1].int().tolist() == [[1, 1, 0, 0, 0]] * 3


def test_mult_is_not_causal_unless_it_is_set() -> None:
    later, (audio, lengths, text, text_lengths) = inputs()[0].detach().clone(), inputs()
    later[0, 5] += 1
    for causal in (False, True):
        network = build("mult", causal=causal, kernel=1).eval()
        seen: list[Tensor] = []
        network.own["audio"].register_forward_hook(lambda *call, to=seen: to.append(call[2]))  # type: ignore[index, union-attr]
        for x in (audio, later):
            network(x, lengths, text, text_lengths)
        assert torch.allclose(seen[0][0, :5], seen[1][0, :5], atol=1e-6) == causal


def test_mult_equation_4_normalises_before_attention_and_feed_forward_but_not_the_residuals() -> None:
    torch.manual_seed(0)
    layer = CrossmodalLayer(MulTConfig(width=4, heads=2, feedforward=8))
    x, memory, mask = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.ones(2, 5).bool()
    n = layer.norms
    middle = layer.attention(n[0](x), n[0](memory), mask) + x
    torch.testing.assert_close(layer(x, memory, mask, None), layer.feedforward(n[1](middle)) + middle)
    own = torch.ones(2, 3).bool()
    torch.testing.assert_close(layer(x, None, own, None), layer(x, x, own, None))


@pytest.mark.parametrize("silent", [False, True])
def test_mult_text_reaches_the_audio_stream_only_through_crossmodal_attention(silent: bool) -> None:
    network, (audio, lengths, text, text_lengths) = build("mult"), inputs()
    if silent:
        for layer in network.cross["audio"].layers:  # type: ignore[index, union-attr]
            nn.init.zeros_(layer.attention.value.weight)
    one, two = (network(audio, lengths, x, text_lengths).aux for x in (text, 2 * text + 1))
    assert torch.allclose(one["audio"], two["audio"], atol=1e-6) == silent
    assert not torch.allclose(one["text"], two["text"], atol=1e-4)
    louder = network(2 * audio + 1, lengths, text, text_lengths).aux
    assert not torch.allclose(one["audio"], louder["audio"], atol=1e-4)
    assert not torch.allclose(one["text"], louder["text"], atol=1e-4)


def test_mult_reads_the_last_element_of_each_stream_before_padding() -> None:
    network, (audio, lengths, text, text_lengths), seen = build("mult"), inputs(), []
    network.own["audio"].register_forward_hook(lambda *call: seen.append(call[2]))  # type: ignore[index, union-attr]
    aux = network(audio, lengths, text, text_lengths).aux
    assert torch.equal(aux["audio"], torch.stack([seen[0][0, 5], seen[0][1, 3]]))
    last = torch.cat([aux["audio"], aux["text"]], dim=1)
    torch.testing.assert_close(aux["fused"], last + network.residual(last))  # type: ignore[operator]


def test_mult_positions_carry_the_order_of_the_other_modality() -> None:
    network, (audio, lengths, text, _) = build("mult", kernel=1), inputs()
    straight, turned = (network(audio, lengths, x, torch.tensor([3, 3])).logits for x in (text, text.flip(1)))
    assert not torch.allclose(straight, turned, atol=1e-4)

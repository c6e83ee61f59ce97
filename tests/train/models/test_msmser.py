"""MSMSER on tiny tensors: masking, scaling, tokens, positions and pooling, with numbers computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emofuse.common.errors import UsageError
from emofuse.train.models.base import Inputs
from emofuse.train.models.blocks.layers import masked_mean
from emofuse.train.models.config import with_settings
from emofuse.train.models.msmser import (
    MSMSER,
    SPEC,
    DecoderLayer,
    ModalityInteraction,
    MSMSERConfig,
    Refinement,
    masked_modality,
    preset,
)

torch.set_num_threads(1)

BOTH = ("audio", "text")
SMALL = MSMSERConfig(width=8, heads=2, feedforward=16, tokens=3, dropout=0.0)
LABELS = torch.tensor([0, 2, 1])
LOSES_TEXT, LOSES_AUDIO, KEEPS_BOTH = 0.1, 0.6, 0.9
"""Uniform numbers that at p = 0.8 fall below 0.48, below 0.8, and above."""


def model(**settings: Any) -> MSMSER:
    torch.manual_seed(0)
    return MSMSER(replace(SMALL, **settings), Inputs(audio=4, text=5, classes=3))


def ablated(name: str, **settings: Any) -> tuple[MSMSER, MSMSERConfig]:
    ablation = SPEC.ablations[name]
    config = replace(SMALL, **settings, **ablation.settings)
    reads = ablation.modalities or SPEC.modalities
    torch.manual_seed(0)
    inputs = Inputs(audio=4 if "audio" in reads else None, text=5 if "text" in reads else None, classes=3)
    return MSMSER(config, inputs), config


def batch(modalities: tuple[str, ...] = BOTH) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(1)
    audio, text = (torch.randn(3, t, d, generator=generator) for t, d in ((6, 4), (4, 5)))
    sides = {"audio": (audio, torch.tensor([6, 4, 1])), "text": (text, torch.tensor([2, 4, 3]))}
    return tuple(x for m in BOTH for x in (sides[m] if m in modalities else (None, None)))


MASKED = {"masking": torch.tensor([LOSES_TEXT, LOSES_AUDIO, KEEPS_BOTH])}


def refined(audio: int = 4, text: int = 3) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    x = {m: torch.randn(2, time, 8, generator=generator) for m, time in (("audio", audio), ("text", text))}
    return x, {m: torch.ones(y.shape[:2], dtype=torch.bool) for m, y in x.items()}


def test_p_decays_from_the_first_epoch_to_the_seventieth() -> None:
    found = [model().masking(epoch / 100) for epoch in (0, 35, 70, 99)]
    assert found == pytest.approx([0.8, 0.4, 0.0, 0.0])
    assert found[2:] == [0, 0]


@pytest.mark.parametrize(("p", "text", "audio"), [(0.8, 0.48, 0.32), (0.4, 0.24, 0.16), (0.0, 0.0, 0.0)])
def test_the_shares_of_samples_that_lose_text_audio_and_both(p: float, text: float, audio: float) -> None:
    lost = masked_modality((torch.arange(10_000) + 0.5) / 10_000, p)
    assert lost["text"].float().mean().item() == pytest.approx(text, abs=2e-4)
    assert lost["audio"].float().mean().item() == pytest.approx(audio, abs=2e-4)
    assert not (lost["text"] & lost["audio"]).any()


def test_each_sample_has_its_own_draw_from_the_generator() -> None:
    uniform = [model().draw(2000, 1, 1, torch.Generator().manual_seed(s))["masking"] for s in (0, 0, 1)]
    assert uniform[0].shape == (2000,)
    assert torch.equal(uniform[0], uniform[1])
    assert not torch.equal(uniform[0], uniform[2])
    lost = masked_modality(uniform[0], 0.8)
    assert [lost[m].float().mean().item() for m in ("text", "audio")] == pytest.approx([0.48, 0.32], abs=0.03)


def test_nothing_is_masked_in_evaluation_or_at_the_end() -> None:
    network = model()
    whole = network(*batch()).logits
    assert torch.equal(network(*batch(), progress=0.0).logits, whole)
    assert torch.equal(network(*batch(), draws=MASKED, progress=0.7).logits, whole)
    early = network(*batch(), draws=MASKED, progress=0.0).logits
    assert torch.equal(early[2], whole[2])
    assert all(not torch.allclose(early[i], whole[i]) for i in (0, 1))


@pytest.mark.parametrize(("row", "lost"), [(0, "text"), (1, "audio")])
def test_a_masked_modality_is_absent_whatever_its_values_and_length(row: int, lost: str) -> None:
    network, given = model(), batch()
    before = network(*given, draws=MASKED, progress=0.0).logits[row]
    side = 0 if lost == "audio" else 2
    for value, length in ((given[side] * 3 + 1, given[side + 1]), (given[side], torch.ones(3, dtype=torch.long))):
        changed = [*given]
        changed[side : side + 2] = value, length
        after = network(*changed, draws=MASKED, progress=0.0).logits
        torch.testing.assert_close(after[row], before)
        assert not torch.allclose(after[1 - row], network(*given, draws=MASKED, progress=0.0).logits[1 - row])


@pytest.mark.parametrize(("row", "lost"), [(0, "text"), (1, "audio")])
def test_a_masked_modality_gets_no_gradient_from_that_sample(row: int, lost: str) -> None:
    network = model()
    network(*batch(), draws=MASKED, progress=0.0).logits[row].square().sum().backward()
    kept = "audio" if lost == "text" else "text"
    idle = [p.grad is None or not p.grad.any() for p in network.refinement[lost].parameters()]
    assert all(idle)
    assert not network.interaction.types[lost].grad.any()
    assert all(p.grad.any() for p in network.refinement[kept].parameters())


@pytest.mark.parametrize(("row", "kept"), [(0, "audio"), (1, "text")])
def test_one_modality_at_inference_equals_the_other_one_masked(row: int, kept: str) -> None:
    network = model()
    assert kept in SPEC.optional
    masked = network(*batch(), draws=MASKED, progress=0.0)
    alone = network(*batch((kept,)))
    torch.testing.assert_close(alone.logits[row], masked.logits[row])
    torch.testing.assert_close(alone.aux["fused"][row], masked.aux["fused"][row])


def test_a_zero_mlp_halves_each_frame() -> None:
    part = Refinement(4, 1, SMALL)
    x, lengths = torch.randn(2, 5, 4), torch.tensor([5, 5])
    encoded = part.encoder(part.resize(x), lengths)
    ratio = part(x, lengths) / encoded
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))
    assert ratio[..., 0].std() > 1e-3
    assert 0 < ratio.min() < ratio.max() < 1
    for p in part.scale[-1].parameters():
        nn.init.zeros_(p)
    torch.testing.assert_close(part(x, lengths), encoded / 2)


def test_tokens_start_different_and_their_order_does_not_matter() -> None:
    network = model()
    tokens = network.interaction.tokens
    assert torch.cdist(tokens, tokens).add(torch.eye(3)).min() > 0.5
    before = network(*batch()).logits
    with torch.no_grad():
        tokens.copy_(tokens[[2, 0, 1]])
    torch.testing.assert_close(network(*batch()).logits, before)


def test_equal_tokens_get_equal_gradients() -> None:
    network = model()
    with torch.no_grad():
        network.interaction.tokens.copy_(network.interaction.tokens[:1].expand(3, -1).clone())
    network.loss(network(*batch()), LABELS).backward()
    gradient = network.interaction.tokens.grad
    torch.testing.assert_close(gradient, gradient[:1].expand(3, -1))


def test_without_types_it_does_not_matter_which_modality_comes_first() -> None:
    torch.manual_seed(0)
    block, (x, masks) = ModalityInteraction(BOTH, SMALL), refined()
    swapped = ({"audio": x["text"], "text": x["audio"]}, {"audio": masks["text"], "text": masks["audio"]})
    assert not torch.allclose(block(x, masks), block(*swapped), atol=1e-4)
    with torch.no_grad():
        for p in block.types.parameters():
            p.zero_()
    torch.testing.assert_close(block(x, masks), block(*swapped))


def test_positions_restart_in_each_modality() -> None:
    block, (x, masks) = ModalityInteraction(BOTH, SMALL), refined()
    before = block(x, masks)
    longer = x | {"audio": torch.cat([x["audio"], torch.randn(2, 7, 8)], dim=1)}
    padded = masks | {"audio": torch.cat([masks["audio"], torch.zeros(2, 7, dtype=torch.bool)], dim=1)}
    torch.testing.assert_close(block(longer, padded), before)


def test_positions_and_types_are_added_to_what_the_tokens_read() -> None:
    block, seen = ModalityInteraction(BOTH, SMALL), []
    block.layers[0].register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[1]))
    x, masks = refined()
    block({m: torch.zeros_like(y) for m, y in x.items()}, masks)
    memory, start = seen[0][0], torch.tensor([0.0] * 4 + [1.0] * 4)
    torch.testing.assert_close(memory[0], start + block.types["audio"])
    torch.testing.assert_close(memory[4], start + block.types["text"])
    torch.testing.assert_close(memory[1] - block.types["audio"], memory[5] - block.types["text"])
    assert not torch.allclose(memory[1], memory[0])


def test_pooling_without_scores_is_the_mean_over_the_tokens() -> None:
    block, seen = ModalityInteraction(BOTH, SMALL), []
    block.layers[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    nn.init.zeros_(block.pooling.u)
    found = block(*refined())
    assert seen[0].shape == (2, 3, 8)
    torch.testing.assert_close(found, seen[0].mean(1))


def test_the_preset_has_the_papers_values() -> None:
    expected = {"width": 768, "heads": 8, "feedforward": 3072, "tokens": 30, "dropout": 0.1, "masking": 0.8}
    expected |= {"audio_layers": 2, "text_layers": 2, "decoder_layers": 2, "scaling": True}
    expected |= {"epochs": 100, "steps": 0, "batch": 8, "lr": 2e-5, "max_frames": 1250, "max_words": 150}
    config = preset("iemocap")
    assert {k: getattr(config, k) for k in expected} == expected
    assert config.problems(None) == []
    assert config.total_steps(4446) == 55_575
    assert dict(SPEC.features) == {"audio": "hubert", "text": "mpnet"}


def test_the_decoder_layer_equals_that_of_torch() -> None:
    torch.manual_seed(0)
    mine = DecoderLayer(8, 2, 16, 0.0)
    torchs = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    pairs = [(torchs.self_attn, mine.attention), (torchs.multihead_attn, mine.cross.attention)]
    with torch.no_grad():
        for theirs, own in pairs:
            theirs.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
            theirs.in_proj_bias.copy_(torch.cat([own.query.bias, torch.zeros(8), own.value.bias]))
            theirs.out_proj.load_state_dict(own.output.state_dict())
        for theirs, own in ((torchs.linear1, mine.cross.feedforward[0]), (torchs.linear2, mine.cross.feedforward[2])):
            theirs.load_state_dict(own.state_dict())
        for theirs, own in zip((torchs.norm1, torchs.norm2, torchs.norm3), (mine.norm, *mine.cross.norms), strict=True):
            own.weight.uniform_(0.5, 1.5)
            theirs.load_state_dict(own.state_dict())
    q, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    torch.testing.assert_close(mine(q, memory, mask), torchs(q, memory, memory_key_padding_mask=~mask))


def test_dropout_acts_on_each_of_the_three_sub_layers_of_a_decoder_layer() -> None:
    layer, q, memory = DecoderLayer(8, 2, 16, 0.5), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask, nothing = torch.ones(1, 5, dtype=torch.bool), torch.zeros(3, 1, 3, 8, dtype=torch.bool)
    bare = layer.cross.norms[1](layer.cross.norms[0](layer.norm(q)))
    torch.testing.assert_close(layer(q, memory, mask, nothing), bare)
    for i in range(3):
        keep = nothing.clone()
        keep[i] = True
        assert not torch.allclose(layer(q, memory, mask, keep), bare, atol=1e-3)


def test_dropout_comes_only_from_the_generator() -> None:
    network = model(dropout=0.5)
    draws = [network.draw(3, 6, 4, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    found = [network(*batch(), draws=d).logits for d in draws]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    shapes = {k: tuple(v.shape) for k, v in draws[0].items()}
    assert shapes == {
        "audio": (2, 2, 3, 6, 8),
        "text": (2, 2, 3, 4, 8),
        "decoder": (2, 3, 3, 3, 8),
        "masking": (3,),
    }


@pytest.mark.parametrize("name", ["audio", "text", "decoder"])
def test_each_draw_reaches_its_layers(name: str) -> None:
    network = model(dropout=0.5)
    whole = {k: torch.ones_like(v) for k, v in network.draw(3, 6, 4, torch.Generator()).items()}
    before, after = (
        network(*batch(), draws=draws).logits for draws in (whole, whole | {name: torch.zeros_like(whole[name])})
    )
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("name", [None, *SPEC.ablations])
def test_every_parameter_of_every_ablation_receives_a_gradient(name: str | None) -> None:
    # Eight units of a scale could all be dead ReLUs.
    network, config = ablated(name, width=16) if name else (model(width=16), replace(SMALL, width=16))
    modalities = (name and SPEC.ablations[name].modalities) or SPEC.modalities
    draws = network.draw(3, 6, 4, torch.Generator().manual_seed(0))
    network.loss(network(*batch(modalities), draws=draws, progress=0.0), LABELS).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert config.problems(name) == []


@pytest.mark.parametrize(("name", "modality"), [("Text", "text"), ("Audio", "audio")])
def test_one_modality_goes_through_the_same_network_without_masking(name: str, modality: str) -> None:
    network, _ = ablated(name)
    both = {n for n, _ in model().named_parameters()}
    other = "audio" if modality == "text" else "text"
    assert {n for n, _ in network.named_parameters()} == {n for n in both if other not in n.split(".")}
    given = batch((modality,))
    assert torch.equal(network(*given, draws=MASKED, progress=0.0).logits, network(*given).logits)


def test_without_encoder_there_is_the_scale_and_without_scale_the_encoder() -> None:
    x, lengths, *_ = batch()
    part = ablated("w/o Encoder")[0].refinement["audio"]
    resized = part.resize(x)
    torch.testing.assert_close(part(x, lengths), resized * torch.sigmoid(part.scale(resized)))
    part = ablated("w/o SelfAtt")[0].refinement["audio"]
    torch.testing.assert_close(part(x, lengths), part.encoder(part.resize(x), lengths))
    assert not any("scale" in n for n, _ in ablated("w/o SelfAtt")[0].named_parameters())


def test_without_interaction_two_masked_means_are_concatenated_and_nothing_is_masked() -> None:
    network, _ = ablated("w/o MIT")
    audio, audio_lengths, text, text_lengths = batch()
    found = network(*batch())
    means = [
        masked_mean(network.refinement[m](x, lengths), lengths)
        for m, x, lengths in (("audio", audio, audio_lengths), ("text", text, text_lengths))
    ]
    torch.testing.assert_close(found.aux["fused"], torch.cat(means, dim=1))
    assert torch.equal(network(*batch(), draws=MASKED, progress=0.0).logits, found.logits)
    assert {n.split(".")[0] for n, _ in network.named_parameters()} == {"refinement", "head"}
    alone = network(None, None, text, text_lengths).aux["fused"]
    torch.testing.assert_close(alone, torch.cat([torch.zeros_like(means[0]), means[1]], dim=1))


def test_without_masking_training_sees_both_modalities_from_the_start() -> None:
    network, _ = ablated("w/o RMM")
    assert torch.equal(network(*batch(), draws=MASKED, progress=0.0).logits, network(*batch()).logits)


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="width=768, heads=7: expected a width that heads divides, such as 770"):
        with_settings(preset("iemocap"), ["heads=7"], BOTH)


@pytest.mark.parametrize("pairs", [["tokens=0"], ["decoder_layers=0"], ["tokens=0", "decoder_layers=0"]])
def test_half_an_interaction_transformer_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError, match=r"above 0, or all three 0 \(--ablation 'w/o MIT'\)"):
        with_settings(preset("iemocap"), pairs, BOTH)
    whole = with_settings(preset("iemocap"), ["tokens=0", "decoder_layers=0", "masking=0"], BOTH)
    assert whole.decoder_layers == 0

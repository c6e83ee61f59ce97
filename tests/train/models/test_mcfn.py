"""MCFN's equations on tiny tensors, with numbers computed by hand: decision, loss, settings, ablations, state."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emofuse.common.errors import UsageError
from emofuse.train.fitting import model_file
from emofuse.train.models.base import Inputs, Outputs
from emofuse.train.models.blocks.layers import masked_mean, time_mask
from emofuse.train.models.config import settings_of, with_settings
from emofuse.train.models.criterion import Criterion
from emofuse.train.models.mcfn import MCFN, SPEC, MCFNConfig, preset
from emofuse.train.models.mcfn_layers import time_frequency_masked, with_deltas

torch.set_num_threads(1)

BOTH = ("audio", "text")


def model(modalities: tuple[str, ...] = BOTH, audio: int = 8, **settings: Any) -> MCFN:
    torch.manual_seed(0)
    config = MCFNConfig(**({"width": 16, "heads": 2, "units": 8} | settings))
    wide = {m: d for m, d in (("audio", audio), ("text", 6)) if m in modalities}
    return MCFN(config, Inputs(audio=wide.get("audio"), text=wide.get("text"), classes=3))


def ablated(name: str) -> MCFN:
    ablation = SPEC.ablations[name]
    return model(ablation.modalities or BOTH, **ablation.settings)


def batch(extra: int = 0, garbage: float = 0.0, audio: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four utterances, with `extra` more frames and words of padding, filled with `garbage`."""
    found = []
    for seed, lengths, width in ((1, [12, 7, 1, 9], audio), (2, [3, 5, 2, 1], 6)):
        x = torch.randn(4, max(lengths), width, generator=torch.Generator().manual_seed(seed))
        x = torch.cat([x, torch.zeros(4, extra, width)], dim=1)
        mask = time_mask(torch.tensor(lengths), x.shape[1], x.device).unsqueeze(2)
        found += [torch.where(mask, x, garbage), torch.tensor(lengths)]
    return tuple(found)  # type: ignore[return-value]


def used(network: MCFN, given: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """The batch without the modality that the network does not have."""
    speech, text = hasattr(network, "speech"), hasattr(network, "text")
    return tuple(x if kept else None for x, kept in zip(given, (speech, speech, text, text), strict=True))


def draws(network: MCFN, seed: int = 0) -> dict[str, Tensor]:
    return network.draw(4, 12, 5, torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 2, 1, 2])


def test_each_modality_has_its_own_attentions() -> None:
    network = model()
    pointers = [{p.data_ptr() for p in part.parameters()} for part in network.dual_attention.values()]
    assert len(pointers) == 2
    assert not pointers[0] & pointers[1]


def test_probabilities_are_mixed_not_logits() -> None:
    log_p = {m: torch.tensor([p]).log() for m, p in (("s", [0.9, 0.1]), ("t", [0.5, 0.5]), ("st", [0.5, 0.5]))}
    mixed = Criterion().mixed(log_p, {"s": 0.3, "t": 0.3, "st": 0.4})
    torch.testing.assert_close(mixed.exp(), torch.tensor([[0.62, 0.38]]))


def test_logits_are_the_log_of_the_mixture_of_the_probabilities_in_aux() -> None:
    network = model().eval()
    found = network(*batch())
    again = 0.3 * found.aux["p_s"] + 0.3 * found.aux["p_t"] + 0.4 * found.aux["p_st"]
    torch.testing.assert_close(network.probabilities(found), again)
    torch.testing.assert_close(found.logits.exp().sum(1), torch.ones(4))
    zero = model(alpha=0.5, beta=0.5, gamma=0.0).eval()(*batch())
    torch.testing.assert_close(zero.logits.exp(), (zero.aux["p_s"] + zero.aux["p_t"]) / 2)
    assert set(model().classifiers) == {"s", "t", "st"}


def test_the_mixture_stays_finite_where_probabilities_vanish() -> None:
    network = model()
    for classifier in network.classifiers.values():
        nn.init.constant_(classifier.bias[:1], -400.0)
    found = network(*batch())
    assert (found.aux["p_s"][:, 0] == 0).all()
    assert (found.logits[:, 0] < -300).all()
    assert found.logits.isfinite().all()
    network.loss(found, LABELS).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def outputs(**aux: list[float]) -> Outputs:
    """Outputs whose classifiers are uniform over three classes and whose features are equal, save for `aux`."""
    filled = {f"logits_{m}": torch.zeros(1, 3) for m in ("s", "t", "st")}
    filled |= {f"{kind}_{m}": torch.zeros(1, 2) for kind in ("pooled", "crossed") for m in "st"}
    return Outputs(logits=torch.zeros(1, 3), aux=filled | {k: torch.tensor([v]) for k, v in aux.items()})


def test_the_loss_is_that_of_the_three_classifiers_not_of_their_mixture() -> None:
    label, network = torch.tensor([1]), model()
    assert network.loss(outputs(), label).item() == pytest.approx(3 * math.log(3))
    odd = dataclasses.replace(outputs(logits_t=[0.0, 2.0, 0.0]), logits=torch.tensor([[9.0, 0.0, 0.0]]))
    expected = 2 * math.log(3) + math.log(1 + 2 * math.exp(-2))
    assert network.loss(odd, label).item() == pytest.approx(expected)


def test_equation_7_is_a_mean_over_features_of_each_modality() -> None:
    label = torch.tensor([0])
    apart = outputs(pooled_s=[1.0, 1.0], crossed_t=[2.0, 0.0])
    assert model().terms(apart, label)["ad"].item() == pytest.approx(1 + 2)
    assert model(omega=0.5).loss(apart, label).item() == pytest.approx(3 * math.log(3) + 1.5)
    weighted = model(lambda_s=2.0, lambda_t=3.0, lambda_st=4.0, omega=0.0)
    assert weighted.loss(apart, label).item() == pytest.approx(9 * math.log(3))


def test_both_sides_of_equation_7_get_gradients() -> None:
    network = model()
    found = network(*batch())
    sides = [found.aux[f"{kind}_{m}"] for kind in ("pooled", "crossed") for m in "st"]
    grads = torch.autograd.grad(network.terms(found, LABELS)["ad"], sides)
    assert all(g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (("alpha=0.5",), "alpha=0.5 + beta=0.3 + gamma=0.4 is 1.2; expected 1"),
        (("alpha=-0.1", "beta=0.7"), "alpha is -0.1; expected a number of at least 0"),
        (("lambda_s=0",), "alpha=0.3 is the vote of a classifier that lambda_s=0 does not train"),
        (("width=100",), "width=100: expected a multiple of 8"),
        (("heads=3",), "heads=3 does not divide units=128"),
        (("mask_bands=1.5",), "mask_bands is 1.5; expected a number of at most 1"),
    ],
)
def test_contradictory_settings_are_refused(pairs: tuple[str, ...], text: str) -> None:
    with pytest.raises(UsageError) as raised:
        with_settings(preset("iemocap"), pairs, BOTH)
    assert text in str(raised.value)


@pytest.mark.parametrize("pairs", [("alpha=0.5", "beta=0.5", "gamma=0"), ("alpha=0.1", "beta=0.2", "gamma=0.7")])
def test_every_point_of_the_grid_is_allowed(pairs: tuple[str, ...]) -> None:
    config = with_settings(preset("iemocap"), (*pairs, "omega=0"), BOTH)
    assert config.alpha + config.beta + config.gamma == pytest.approx(1)


@pytest.mark.parametrize("width", [5, 78, 768])
def test_features_of_any_dimension_are_accepted(width: int) -> None:
    network = model(audio=width)
    network.loss(network(*batch(audio=width), draws=draws(network)), LABELS).backward()
    assert network.speech.spans[0].blocks[0].convolution.weight.shape == (4, 3 * width, 3)


def test_nothing_is_masked_in_evaluation_and_equal_generators_draw_equal_masks() -> None:
    network, bare = model().eval(), model(mask_bands=0.0, mask_frames=0.0).eval()
    plain, drawn = network(*batch()).logits, network(*batch(), draws=draws(network)).logits
    assert torch.equal(plain, bare(*batch(), draws=draws(bare)).logits)
    assert not torch.equal(plain, drawn)
    audio, lengths, *text = batch()
    masked = time_frequency_masked(audio, lengths, draws(network)["masks"], bands=15 / 40, frames=0.18)
    assert torch.equal(drawn, network(masked, lengths, *text).logits)
    assert torch.equal(draws(network, 3)["masks"], draws(network, 3)["masks"])
    assert not torch.equal(draws(network, 3)["masks"], draws(network, 4)["masks"])


@pytest.mark.parametrize("name", ["full", *SPEC.ablations])
def test_padding_has_no_effect_in_training(name: str) -> None:
    found = []
    for extra, garbage in ((0, 0.0), (6, 0.0), (6, 1e3)):
        network = (model() if name == "full" else ablated(name)).train()
        given = network(*used(network, batch(extra, garbage)), draws=draws(network))
        loss = network.loss(given, LABELS)
        loss.backward()
        grads = [p.grad for p in network.parameters()]
        found.append(([*given.aux.values(), given.logits, loss], [*network.buffers()], grads))
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["full", "skip per block", *SPEC.ablations])
def test_every_parameter_of_every_ablation_receives_a_gradient(name: str) -> None:
    network = {"full": model, "skip per block": lambda: model(skip="block")}.get(name, lambda: ablated(name))()
    network.loss(network(*used(network, batch()), draws=draws(network)), LABELS).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_final_vectors_are_own_plus_crossed() -> None:
    aux = model().eval()(*batch()).aux
    own, crossed = (torch.cat([aux[f"{kind}_{m}"] for m in "st"], dim=1) for kind in ("pooled", "crossed"))
    torch.testing.assert_close(aux["fused"], own + crossed)
    assert aux["fused"].shape == (4, 32)


def test_each_classifier_is_one_linear_layer_on_its_final_vector() -> None:
    network = model().eval()
    aux = network(*batch()).aux
    for m, x in (("s", aux["fused"][:, :16]), ("t", aux["fused"][:, 16:]), ("st", aux["fused"])):
        expected = torch.softmax(x @ network.classifiers[m].weight.T + network.classifiers[m].bias, dim=1)
        torch.testing.assert_close(aux[f"p_{m}"], expected)


def test_the_pooled_vectors_are_means_of_the_equations_results() -> None:
    network, (audio, lengths, text, text_lengths) = model().eval(), batch()
    aux = network(audio, lengths, text, text_lengths).aux
    frames, words = time_mask(lengths, 12, audio.device), time_mask(text_lengths, 5, text.device)
    speech = network.dual_attention["s"](network.speech(with_deltas(audio, lengths), frames), frames)
    written = network.dual_attention["t"](network.text(text) * words.unsqueeze(2), words)
    torch.testing.assert_close(aux["pooled_s"], masked_mean(speech, lengths))
    torch.testing.assert_close(aux["pooled_t"], masked_mean(written, text_lengths))
    for m, x in zip("st", network.collaboration(speech, written, frames), strict=True):
        torch.testing.assert_close(aux[f"crossed_{m}"], masked_mean(x, text_lengths))


@pytest.mark.parametrize("name", list(SPEC.ablations))
def test_settings_of_ablations_are_valid_and_fixed(name: str) -> None:
    ablation = SPEC.ablations[name]
    fixed, modalities = ablation.settings, ablation.modalities or BOTH
    config = dataclasses.replace(preset("iemocap"), **fixed)
    assert with_settings(config, [], modalities, name, fixed) == config
    assert set(fixed) <= set(settings_of(config, modalities))
    network = ablated(name)
    assert sum(network.votes.values()) == pytest.approx(1)
    assert {m for m, vote in network.votes.items() if vote} == set(network.classifiers)


@pytest.mark.parametrize(("name", "m"), [("Speech only", "s"), ("Text only", "t")])
def test_one_modality_has_only_its_own_classifier_and_loss(name: str, m: str) -> None:
    network = ablated(name).eval()
    found = network(*used(network, batch()))
    torch.testing.assert_close(found.aux["fused"], found.aux[f"pooled_{m}"])
    torch.testing.assert_close(found.logits.exp(), found.aux[f"p_{m}"])
    assert network.loss(found, LABELS).item() == pytest.approx(
        nn.functional.cross_entropy(found.aux[f"logits_{m}"], LABELS).item()
    )
    parts = {name.split(".")[0] for name, _ in network.named_parameters()}
    assert parts == {"speech" if m == "s" else "text", "dual_attention", "classifiers"}
    assert bool(network.draw(4, 12 if m == "s" else 0, 5, torch.Generator())) is (m == "s")


def test_bimodal_has_only_the_joint_classifier_and_its_loss() -> None:
    network = ablated("Bimodal").eval()
    found = network(*batch())
    assert set(network.classifiers) == {"st"}
    torch.testing.assert_close(found.logits.exp(), found.aux["p_st"])
    expected = nn.functional.cross_entropy(found.aux["logits_st"], LABELS)
    torch.testing.assert_close(network.loss(found, LABELS), expected)


def test_without_dual_attention_a_modality_is_its_embedding() -> None:
    network, (audio, lengths, *text) = ablated("w/o DAB").eval(), batch()
    embedded = network.speech(with_deltas(audio, lengths), time_mask(lengths, 12, audio.device))
    torch.testing.assert_close(network(audio, lengths, *text).aux["pooled_s"], masked_mean(embedded, lengths))
    assert not any("dual" in name for name, _ in network.named_parameters())


def test_the_channel_scale_changes_the_network_and_has_no_effect_without_dual_attention() -> None:
    printed, scaled = (model(channel_scale=scale).eval()(*batch()).logits for scale in ("none", "sqrt"))
    assert not torch.allclose(printed, scaled)
    ablation = dataclasses.replace(preset("iemocap"), **SPEC.ablations["w/o DAB"].settings)
    with pytest.raises(UsageError, match="channel_scale: without effect, since dual_attention=false"):
        with_settings(ablation, ["channel_scale=sqrt"], BOTH, "w/o DAB", ["dual_attention"])


def test_without_interaction_there_is_alignment_but_no_excitement() -> None:
    network = ablated("w/o CMI").eval()
    aux = network(*batch()).aux
    torch.testing.assert_close(aux["crossed_t"], aux["pooled_t"])
    assert (aux["crossed_s"] - aux["pooled_s"]).abs().max() > 1e-3
    assert len(network.collaboration.W) == 0


@pytest.mark.parametrize(("m", "other"), ["st", "ts"])
def test_without_intra_modal_learning_a_modality_is_only_its_crossed_vector(m: str, other: str) -> None:
    network = ablated(f"w/o Intra-modal^{m}").eval()
    found = network(*batch())
    halves = dict(zip("st", found.aux["fused"].chunk(2, dim=1), strict=True))
    torch.testing.assert_close(halves[m], found.aux[f"crossed_{m}"])
    torch.testing.assert_close(halves[other], found.aux[f"pooled_{other}"] + found.aux[f"crossed_{other}"])
    terms = network.terms(found, LABELS)
    assert set(terms) == {other, "st", "ad"}
    expected = nn.functional.mse_loss(found.aux[f"pooled_{other}"], found.aux[f"crossed_{other}"])
    torch.testing.assert_close(terms["ad"], expected)
    assert network.votes == pytest.approx({m: 0, other: 3 / 7, "st": 4 / 7})


def test_without_mutual_adjustment_the_addition_stays() -> None:
    network, whole = ablated("w/o MA").eval(), model().eval()
    found = network(*batch())
    torch.testing.assert_close(found.aux["fused"], whole(*batch()).aux["fused"])
    terms = network.terms(found, LABELS)
    torch.testing.assert_close(network.loss(found, LABELS), terms["s"] + terms["t"] + terms["st"])


def test_settings_without_effect_on_one_modality_are_refused() -> None:
    with pytest.raises(UsageError, match="without effect"):
        with_settings(preset("iemocap"), ["alpha=0.3"], ("audio",), "Speech only")
    fixed = SPEC.ablations["w/o MA"].settings
    with pytest.raises(UsageError, match="has set it"):
        with_settings(dataclasses.replace(preset("iemocap"), **fixed), ["omega=1"], BOTH, "w/o MA", fixed)


def trained(steps: int = 3) -> MCFN:
    network, generator = model().train(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = network.loss(network(*batch(), draws=network.draw(4, 12, 5, generator)), LABELS)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def test_the_same_seed_trains_to_the_same_weights_and_statistics() -> None:
    one, two = trained().state_dict(), trained().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_checkpoint_keeps_the_running_statistics(tmp_path: Path) -> None:
    network = trained()
    assert {n.split(".")[-1] for n, _ in network.named_buffers()} == {"running_mean", "running_var"}
    assert network.state_dict()["speech.spans.0.blocks.0.norm.running_mean"].abs().sum() > 0
    recipe = model_file.ModelRecipe(
        model="mcfn", settings=network.config, inputs=Inputs(audio=8, text=6, classes=3), classes=("a", "b", "c")
    )
    model_file.save(tmp_path / "model.safetensors", recipe, network.state_dict(), {})
    loaded = model_file.load(tmp_path / "model.safetensors")[0]
    assert torch.equal(loaded(*batch()).logits, network.eval()(*batch()).logits)


def test_presets_have_the_papers_values() -> None:
    expected = {
        "lr": 1e-4,
        "batch": 32,
        "width": 256,
        "heads": 4,
        "units": 128,
        "alpha": 0.3,
        "beta": 0.3,
        "gamma": 0.4,
    }
    for corpus in ("iemocap", "meld"):
        config = preset(corpus)
        assert {k: getattr(config, k) for k in expected} == expected
        assert (config.steps, config.epochs, config.max_frames) == (0, 50, 1600)
    assert SPEC.features == {"audio": "logmel-mcfn", "text": "roberta"}

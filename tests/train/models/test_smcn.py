"""SMCN's equations on tiny tensors, with numbers computed by hand."""

from __future__ import annotations

import math
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from emofuse.train.models.base import Inputs, Outputs
from emofuse.train.models.blocks.layers import AttentionPooling
from emofuse.train.models.smcn import FUSIONS, SMCN, SMCNConfig, preset

torch.set_num_threads(1)


def model(hidden: int = 3, **settings: object) -> SMCN:
    torch.manual_seed(0)
    return SMCN(SMCNConfig(hidden=hidden, **settings), Inputs(audio=4, text=5, classes=3))  # type: ignore[arg-type]


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    audio, text = (torch.randn(2, t, d, generator=generator) for t, d in ((6, 4), (3, 5)))
    return audio.requires_grad_(), torch.tensor([6, 4]), text.requires_grad_(), torch.tensor([2, 3])


LABELS = torch.tensor([0, 2])


def reached(network: nn.Module, loss: Tensor) -> set[str]:
    """The modules, with their modality, that get gradients from a loss."""
    network.zero_grad()
    loss.backward()
    return {
        ".".join(name.split(".")[:2])
        for name, p in network.named_parameters()
        if p.grad is not None and bool(p.grad.abs().sum() > 0)
    }


def test_attention_is_a_softmax_over_time_of_tanh_without_an_outer_bias() -> None:
    pooling = AttentionPooling(2)
    with torch.no_grad():
        pooling.inner.weight.copy_(torch.eye(2))
        pooling.inner.bias.zero_()
        pooling.u.copy_(torch.tensor([1.0, 0.0]))
    h, lengths = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([2])
    expected = torch.tensor([[0.6817, 0.3183]])
    torch.testing.assert_close(pooling.weights(h, lengths), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(pooling(h, lengths), expected, atol=1e-4, rtol=0)
    assert {name for name, _ in pooling.named_parameters()} == {"inner.weight", "inner.bias", "u"}


def test_modalities_do_not_meet_before_equation_15() -> None:
    network, (audio, audio_lengths, text, text_lengths) = model(), inputs()
    aux = network(audio, audio_lengths, text, text_lengths).aux
    for own, other, key in ((audio, text, "I2_a"), (text, audio, "I2_t")):
        grads = torch.autograd.grad(aux[key].square().sum(), [own, other], allow_unused=True, retain_graph=True)
        assert grads[0] is not None
        assert grads[0].abs().sum() > 0
        assert grads[1] is None
    logits = network(audio, audio_lengths, text, text_lengths).logits
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(logits[:, 0].sum(), [audio, text]))


def outputs(**aux: list[float]) -> Outputs:
    """Outputs whose calibration terms are zero, except for `aux`."""
    filled = {f"{kind}_{i}": torch.zeros(1, 2) for kind in ("F", "Fc") for i in "at"}
    filled |= {f"logits_{i}": torch.zeros(1, 3) for i in "at"}
    filled |= {name: torch.tensor([values]) for name, values in aux.items()}
    return Outputs(logits=torch.zeros(1, 3), aux=filled)


@pytest.mark.parametrize(("mse", "expected"), [("mean", 1.0), ("sum", 2.0)])
def test_loss_at_compares_text_with_the_prediction_from_audio(mse: str, expected: float) -> None:
    terms = model(mse=mse).terms(outputs(F_t=[1.0, 1.0]), torch.tensor([0]))
    assert terms["at"].item() == pytest.approx(expected)
    assert terms["ta"].item() == 0
    crossed = model(mse=mse).terms(outputs(F_a=[1.0, 1.0]), torch.tensor([0]))
    assert crossed["at"].item() == 0
    assert crossed["ta"].item() == pytest.approx(expected)


def test_a_sum_over_features_is_still_a_mean_over_samples() -> None:
    two = Outputs(logits=torch.zeros(2, 3), aux={k: v.repeat(2, 1) for k, v in outputs(F_t=[1.0, 1.0]).aux.items()})
    assert model(mse="sum").terms(two, LABELS)["at"].item() == pytest.approx(2.0)


@pytest.mark.parametrize("detach", [False, True])
def test_loss_at_reaches_the_audio_calibration_and_the_text_it_is_compared_with(detach: bool) -> None:
    network = model(detach_target=detach)
    found = reached(network, network.terms(network(*inputs()), LABELS)["at"])
    target = set() if detach else {"intra_gru.t", "intra_attention.t"}
    assert found == {"calibration_gru.a", "calibration_attention.a"} | target


def test_loss_a_has_no_gradient_in_text() -> None:
    network = model()
    found = reached(network, network.terms(network(*inputs()), LABELS)["a"])
    assert found == {"intra_gru.a", "intra_attention.a", "intra_head.a"}


def test_four_recurrences_and_six_attentions_share_nothing() -> None:
    network = model()
    recurrences = [*network.intra_gru.values(), *network.calibration_gru.values()]
    attentions = chain.from_iterable(
        part.values()
        for part in (network.intra_attention, network.calibration_attention, network.interaction_attention)
    )
    pointers = [{p.data_ptr() for p in part.parameters()} for part in (*recurrences, *attentions)]
    assert len(recurrences) == 4
    assert len(pointers) == 10
    assert len(set.union(*pointers)) == sum(len(p) for p in pointers)


def test_the_loss_of_uniform_heads_and_equal_features_is_three_ln_c() -> None:
    assert model().loss(outputs(), torch.tensor([1])).item() == pytest.approx(3 * math.log(3))


def test_the_loss_is_the_unweighted_sum_of_five_terms() -> None:
    network = model()
    found = network(*inputs())
    terms = network.terms(found, LABELS)
    assert sorted(terms) == ["a", "at", "p", "t", "ta"]
    assert network.loss(found, LABELS).item() == pytest.approx(sum(t.item() for t in terms.values()))


def test_interaction_adds_in_time_and_then_in_the_utterance() -> None:
    network, (audio, lengths, text, text_lengths) = model(), inputs()
    aux = network(audio, lengths, text, text_lengths).aux
    own, imagined = (gru["a"](audio, lengths) for gru in (network.intra_gru, network.calibration_gru))
    first = network.interaction_attention["a"](own + imagined, lengths)
    torch.testing.assert_close(aux["I2_a"], first + aux["F_a"] + aux["Fc_a"])


@pytest.mark.parametrize("which", ["phi_1", "phi_2"])
def test_another_phi_gives_another_value(which: str) -> None:
    found = [model(**{which: name})(*inputs()).logits for name in FUSIONS]
    assert all(not torch.allclose(found[0], other) for other in found[1:])


@pytest.mark.parametrize(
    ("classified", "expected"),
    [("intra", lambda a: a["F_a"]), ("inter", lambda a: a["Fc_a"]), ("second", lambda a: a["F_a"] + a["Fc_a"])],
)
def test_ablations_change_only_the_classifiers_input(classified: str, expected: object) -> None:
    network = model(classified=classified)
    found = network(*inputs())
    torch.testing.assert_close(found.aux["I2_a"], expected(found.aux))  # type: ignore[operator]
    assert len(network.interaction_attention) == 0
    assert len(network.terms(found, LABELS)) == 5


def test_the_ablation_first_is_only_the_attended_interaction() -> None:
    network, (audio, lengths, text, text_lengths) = model(classified="first"), inputs()
    own, imagined = (gru["a"](audio, lengths) for gru in (network.intra_gru, network.calibration_gru))
    found = network(audio, lengths, text, text_lengths).aux["I2_a"]
    torch.testing.assert_close(found, network.interaction_attention["a"](own + imagined, lengths))


@pytest.mark.parametrize("classified", ["all", "intra", "inter", "first", "second"])
@pytest.mark.parametrize("detach", [False, True])
def test_every_parameter_of_every_ablation_receives_a_gradient(classified: str, detach: bool) -> None:
    network = model(hidden=16, classified=classified, detach_target=detach)  # three units could all be dead ReLUs
    network.loss(network(*inputs()), LABELS).backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_presets_have_the_papers_values() -> None:
    common = {"lr": 1e-4, "batch": 32, "hidden": 128, "max_frames": 500}
    for corpus, steps, words in (("iemocap", 2500, 150), ("meld", 2000, 100)):
        config = preset(corpus)
        assert {k: getattr(config, k) for k in common} == common
        assert (config.steps, config.max_words) == (steps, words)


def test_the_heads_have_two_linear_layers_of_the_papers_sizes() -> None:
    network = SMCN(preset("iemocap"), Inputs(audio=78, text=768, classes=4))
    shapes = [tuple(m.weight.shape) for m in network.fused_head if isinstance(m, nn.Linear)]
    assert shapes == [(128, 512), (4, 128)]
    assert [tuple(m.weight.shape) for m in network.intra_head["a"] if isinstance(m, nn.Linear)] == [
        (128, 256),
        (4, 128),
    ]

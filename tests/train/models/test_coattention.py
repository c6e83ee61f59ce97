"""Co-attention's equations on tiny tensors, with numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from emofuse.common.errors import UsageError
from emofuse.train.models.base import Inputs, Outputs
from emofuse.train.models.coattention import SPEC, CoAttention, CoAttentionConfig, GuidedAttention, preset
from emofuse.train.models.config import settings_of, with_settings

torch.set_num_threads(1)

LABELS = torch.tensor([0, 2])
BARE = {"encoder_layers": 0}


def model(audio: int | None = 4, text: int | None = 5, **settings: object) -> CoAttention:
    torch.manual_seed(0)
    sizes = {"width": 6, "units": 3, "heads": 2, "feedforward": 8} | settings
    return CoAttention(CoAttentionConfig(**sizes), Inputs(audio=audio, text=text, classes=3))  # type: ignore[arg-type]


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    audio, text = (torch.randn(2, t, d, generator=generator) for t, d in ((6, 4), (3, 5)))
    return audio.requires_grad_(), torch.tensor([6, 4]), text.requires_grad_(), torch.tensor([2, 3])


def unit_attention(guided: bool) -> GuidedAttention:
    attention = GuidedAttention(1, 1, guided)
    for parameter in attention.parameters():
        nn.init.ones_(parameter)
    return attention


def moved(network: CoAttention, step: int) -> dict[str, bool]:
    """Output -> whether it changes with the scoring vector of one attention."""
    before = network(*inputs()).aux
    with torch.no_grad():
        network.attention[step].score.add_(torch.tensor([1.0, -2.0, 3.0]))
    after = network(*inputs()).aux
    return {name: not torch.allclose(before[name], after[name]) for name in ("audio", "text", "fused")}


def test_attention_without_guidance() -> None:
    x, lengths = torch.tensor([[[1.0], [0.0]]]), torch.tensor([2])
    attention = unit_attention(guided=False)
    torch.testing.assert_close(attention.weights(x, lengths), torch.tensor([[0.6817, 0.3183]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(attention(x, lengths), torch.tensor([[0.6817]]), atol=1e-4, rtol=0)


def test_guidance_is_added_to_every_frame_before_the_tanh() -> None:
    x, lengths = torch.tensor([[[1.0], [0.0]]]), torch.tensor([2])
    weights = unit_attention(guided=True).weights(x, lengths, torch.tensor([[1.0]]))
    torch.testing.assert_close(weights, torch.tensor([[0.5504, 0.4496]]), atol=1e-4, rtol=0)


def test_equation_3_has_no_bias() -> None:
    assert {name for name, _ in GuidedAttention(2, 3, True).named_parameters()} == {
        "score",
        "inner.weight",
        "guide.weight",
    }


def test_text_then_speech_then_text_again() -> None:
    network, (audio, lengths, text, text_lengths) = model(**BARE), inputs()
    aux = network(audio, lengths, text, text_lengths).aux
    speech, words = network.resize["audio"](audio), network.resize["text"](text)
    first, second, third = network.attention
    x = second(speech, lengths, first(words, text_lengths))
    torch.testing.assert_close(aux["audio"], x)
    torch.testing.assert_close(aux["text"], third(words, text_lengths, x))


@pytest.mark.parametrize(
    ("step", "changed"), [(0, ["audio", "text", "fused"]), (1, ["audio", "text", "fused"]), (2, ["text", "fused"])]
)
def test_each_step_guides_the_next(step: int, changed: list[str]) -> None:
    assert [name for name, does in moved(model(**BARE), step).items() if does] == changed


def test_the_first_attended_text_enters_equation_4_only_as_guidance() -> None:
    network = model(**BARE)
    nn.init.zeros_(network.attention[1].guide.weight)
    assert not any(moved(network, 0).values())


def test_constant_frames_have_equal_weights_under_any_guidance() -> None:
    attention, x = GuidedAttention(3, 4, True), torch.tensor([0.5, -1.0, 2.0]).expand(1, 4, 3)
    for guidance in (torch.zeros(1, 3), torch.tensor([[3.0, -2.0, 1.0]])):
        torch.testing.assert_close(attention.weights(x, torch.tensor([4]), guidance), torch.full((1, 4), 0.25))


def test_equation_4_is_the_layer_norm_of_both_projections() -> None:
    torch.manual_seed(0)
    network = CoAttention(CoAttentionConfig(width=2, units=3, encoder_layers=0), Inputs(audio=2, text=2, classes=3))
    for part in (*network.resize.values(), *network.projection.values()):
        nn.init.eye_(part.weight)
    for part in network.resize.values():
        nn.init.zeros_(part.bias)
    one = torch.tensor([1])
    fused = network(torch.tensor([[[2.0, 1.0]]]), one, torch.tensor([[[1.0, 0.0]]]), one).aux["fused"]
    torch.testing.assert_close(fused, torch.tensor([[1.0, -1.0]]), atol=1e-4, rtol=0)
    assert all(part.bias is None for part in network.projection.values())


def test_the_loss_of_zero_logits_is_ln_2_for_any_number_of_classes() -> None:
    assert model().loss(Outputs(logits=torch.zeros(2, 3)), LABELS).item() == pytest.approx(math.log(2))


def test_each_class_is_set_against_the_rest() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    sigmoid = [1 / (1 + math.exp(-x)) for x in (2, 0, -1)]
    expected = -(math.log(sigmoid[0]) + math.log(1 - sigmoid[1]) + math.log(1 - sigmoid[2])) / 3
    assert model().loss(Outputs(logits=logits), torch.tensor([0])).item() == pytest.approx(expected)


def test_stored_probabilities_are_sigmoids_divided_by_their_sum() -> None:
    logits = torch.tensor([[0.0, math.log(3.0), -math.log(3.0)], [-500.0, -501.0, -600.0]])
    found = model().probabilities(Outputs(logits=logits))
    torch.testing.assert_close(found[0], torch.tensor([0.5, 0.75, 0.25]) / 1.5)
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    assert found.argmax(1).tolist() == [1, 0]


def test_class_weights_weight_utterances_by_their_true_class() -> None:
    network, outputs = model(), Outputs(logits=torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    first, second = (network.loss(Outputs(logits=outputs.logits[i : i + 1]), LABELS[i : i + 1]) for i in range(2))
    network.class_weights = torch.tensor([3.0, 7.0, 1.0])
    torch.testing.assert_close(network.loss(outputs, LABELS), (3 * first + second) / 4)


@pytest.mark.parametrize(("audio", "text", "own"), [(4, None, "audio"), (None, 5, "text")])
def test_single_modality_rows_are_equations_3_and_4_on_one(audio: int | None, text: int | None, own: str) -> None:
    network = model(audio, text, **BARE)
    x, lengths = inputs()[:2] if own == "audio" else inputs()[2:]
    given = (x, lengths, None, None) if own == "audio" else (None, None, x, lengths)
    attended = network.attention[0](network.resize[own](x), lengths)
    torch.testing.assert_close(network(*given).aux["fused"], network.norm(network.projection[own](attended)))
    assert len(network.attention) == 1
    assert not any("guide" in name or ("text", "audio")[own == "text"] in name for name in network.state_dict())


def test_ablations_are_the_single_modality_rows() -> None:
    assert {name: a.modalities for name, a in SPEC.ablations.items()} == {"Audio": ("audio",), "Text": ("text",)}
    assert "rounds" not in settings_of(preset("iemocap"), ["audio"])


def test_a_further_round_starts_with_the_attended_speech() -> None:
    network, (audio, lengths, text, text_lengths) = model(rounds=2, **BARE), inputs()
    aux = network(audio, lengths, text, text_lengths).aux
    speech, words = network.resize["audio"](audio), network.resize["text"](text)
    a = network.attention
    assert len(a) == 5
    x = a[1](speech, lengths, a[0](words, text_lengths))
    x = a[3](speech, lengths, a[2](words, text_lengths, x))
    torch.testing.assert_close(aux["audio"], x)
    torch.testing.assert_close(aux["text"], a[4](words, text_lengths, x))


@pytest.mark.parametrize("settings", [{}, BARE, {"rounds": 3}])
@pytest.mark.parametrize(("audio", "text"), [(4, 5), (4, None), (None, 5)])
def test_every_parameter_receives_a_gradient(audio: int | None, text: int | None, settings: dict[str, int]) -> None:
    network, given = model(audio, text, **({"feedforward": 16} | settings)), inputs()
    sides = (given[0] if audio else None, given[1], given[2] if text else None, given[3])
    network.loss(network(*sides), LABELS).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_dropout_comes_only_from_the_draws() -> None:
    network = model(dropout=0.5).train()
    draws = network.draw(2, 6, 3, torch.Generator().manual_seed(0))
    assert {m: tuple(keep.shape) for m, keep in draws.items()} == {"audio": (1, 2, 2, 6, 6), "text": (1, 2, 2, 3, 6)}
    plain, one, two = (network(*inputs(), draws=d).logits for d in (None, draws, draws))
    assert torch.equal(one, two)
    assert torch.equal(plain, network(*inputs()).logits)
    assert not torch.allclose(plain, one)


def test_the_order_of_frames_matters_only_to_the_transformer_layers() -> None:
    audio, _, text, text_lengths = inputs()
    for settings, same in ((BARE, True), ({"encoder_layers": 1}, False)):
        network = model(**settings)
        turned = network(audio.flip(1), torch.tensor([6, 6]), text, text_lengths).logits
        straight = network(audio, torch.tensor([6, 6]), text, text_lengths).logits
        assert torch.allclose(turned, straight, atol=1e-6) == same


def test_preset() -> None:
    common = {"lr": 1e-4, "batch": 32, "steps": 2500, "width": 256, "units": 128, "encoder_layers": 1, "rounds": 1}
    found = preset("iemocap")
    assert {k: getattr(found, k) for k in common} == common
    assert SPEC.features == {"audio": "trill", "text": "t5"}


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UsageError, match="width=256, heads=6: expected a width that heads divides, such as 258"):
        with_settings(preset("iemocap"), ["heads=6"], ("audio", "text"))


def test_the_bare_equations_take_no_setting_of_the_transformer_layers() -> None:
    both, bare = ("audio", "text"), ["encoder_layers=0"]
    for pair in ("heads=2", "feedforward=8", "dropout=0.2"):
        with pytest.raises(UsageError, match=f"--set {pair.split('=')[0]}: without effect, since encoder_layers=0"):
            with_settings(preset("iemocap"), [*bare, pair], both)
    assert with_settings(preset("iemocap"), [*bare, "width=30"], both).width == 30

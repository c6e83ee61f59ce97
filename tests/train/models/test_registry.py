"""The contract of every registered model: padding, the rest of the batch, gradients, learning, repeatability."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from emofuse.train.data.dialogues import in_batch
from emofuse.train.models.base import FusionModel, Inputs, ModelSpec
from emofuse.train.models.blocks.dialogues import Dialogues
from emofuse.train.models.blocks.layers import BiGRU, masked_mean, mlp, time_mask
from emofuse.train.models.objective import Objective
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.dialogues import DialogueTurns

torch.set_num_threads(1)

CASES = [
    pytest.param(entry.name, modalities, id=f"{entry.name}-{'+'.join(modalities)}")
    for entry in MODELS
    for modalities in (
        [entry.value.modalities]
        if entry.value.needs == "all"
        else [(m,) for m in entry.value.modalities] + ([entry.value.modalities] if entry.value.needs == "any" else [])
    )
]
DIMENSION = {"audio": 6, "text": 5}
STACKS = ("encoder_layers", "cross_layers", "self_layers")
"""Settings for the number of layers that are equal to each other."""
Sides = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def build(name: str, modalities: tuple[str, ...], seed: int = 0, classes: int = 4) -> FusionModel:
    spec: ModelSpec = MODELS[name]
    config = samples.shrunk(spec.preset("iemocap"))
    # Two layers are a stack as five are, and take less time.
    config = replace(config, **{name: 2 for name in STACKS if getattr(config, name, 0) > 2})
    width = {m: DIMENSION[m] for m in modalities}
    torch.manual_seed(seed)
    inputs = Inputs(audio=width.get("audio"), text=width.get("text"), layers=3 if spec.layered else 0, classes=classes)
    return spec.build(config, inputs)


UTTERANCES = 32


def sides(
    name: str, modalities: tuple[str, ...], count: int = UTTERANCES, extra: int = 0, garbage: float = 0.0
) -> Sides:
    """A padded batch; `extra` more frames of padding, filled with `garbage`."""
    found: list[Tensor | None] = []
    layers = (3,) if MODELS[name].layered else ()
    for side, modality in enumerate(("audio", "text")):
        if modality not in modalities:
            found += [None, None]
            continue
        generator = torch.Generator().manual_seed(side)
        lengths = torch.randint(1, 9, (UTTERANCES,), generator=generator)
        x = torch.randn(UTTERANCES, 8, *layers, DIMENSION[modality], generator=generator)
        x, lengths = x[:count], lengths[:count]
        x = torch.cat([x, torch.zeros(count, extra, *x.shape[2:])], dim=1)[:, : int(lengths.max()) + extra]
        mask = time_mask(lengths, x.shape[1], x.device)
        found += [torch.where(mask.reshape(*mask.shape, *[1] * (x.dim() - 2)), x, garbage), lengths]
    return tuple(found)  # type: ignore[return-value]


LABELS = torch.arange(UTTERANCES) % 4
FIRST_OF_DIALOGUE = np.isin(np.arange(UTTERANCES), (0, 1, 3, 8, 12, 20))


def context(name: str, count: int = UTTERANCES) -> dict[str, Dialogues]:
    """The dialogues of the first utterances of the batch, for models that read them; two speakers take turns."""
    if MODELS[name].context is None:
        return {}
    dialogue = np.cumsum(FIRST_OF_DIALOGUE)
    turn = np.arange(UTTERANCES) - np.flatnonzero(FIRST_OF_DIALOGUE)[dialogue - 1]
    turns = DialogueTurns(dialogue=dialogue, turn=turn, speaker=turn % 2)
    return {"dialogues": in_batch(turns, np.arange(count), torch.device("cpu"))}


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_results_do_not_depend_on_padding(name: str, modalities: tuple[str, ...]) -> None:
    model = build(name, modalities).eval()
    short = model(*sides(name, modalities), **context(name)).logits
    for extra, garbage in ((7, 0.0), (7, 1e3)):
        torch.testing.assert_close(
            model(*sides(name, modalities, UTTERANCES, extra, garbage), **context(name)).logits,
            short,
            atol=1e-5,
            rtol=0,
        )


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_results_do_not_depend_on_the_other_utterances_of_the_batch(name: str, modalities: tuple[str, ...]) -> None:
    model = build(name, modalities).eval()
    together = model(*sides(name, modalities), **context(name)).logits
    for count in (1, 3):
        alone = model(*sides(name, modalities, count), **context(name, count)).logits
        torch.testing.assert_close(alone, together[:count], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_every_parameter_receives_a_gradient_in_training(name: str, modalities: tuple[str, ...]) -> None:
    model = build(name, modalities).train()
    draws = model.draw(UTTERANCES, 8, 8, torch.Generator().manual_seed(0))
    for progress in (0.0, 0.5):  # a model that is trained in stages is in its first one, and in a later one
        model.loss(model(*sides(name, modalities), **context(name), draws=draws, progress=progress), LABELS).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_it_overfits_32_utterances(name: str, modalities: tuple[str, ...]) -> None:
    batch = sides(name, modalities, UTTERANCES)
    model = build(name, modalities)
    probe = MODELS[name].pool != "frames"
    # The points are not linearly separable by their labels, so the probes get labels that are.
    labels = separable(batch) if probe else LABELS
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03 if probe else 0.005)
    for step in range(400):
        loss = model.loss(model(*batch, **context(name)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 == 9 and accuracy(name, model, batch, labels) >= 31 / 32:
            return
    pytest.fail(f"an accuracy of only {accuracy(name, model, batch, labels):.2f}")


def accuracy(name: str, model: FusionModel, batch: Sides, labels: Tensor) -> float:
    with torch.no_grad():
        hits = model.eval()(*batch, **context(name)).logits.argmax(1) == labels
    model.train()
    return hits.float().mean().item()


def separable(batch: Sides) -> Tensor:
    x, lengths = (batch[0], batch[1]) if batch[0] is not None else (batch[2], batch[3])
    assert x is not None
    assert lengths is not None
    mean = masked_mean(x, lengths)
    return (mean[:, 0, 0] if mean.dim() == 3 else mean[:, 0]).gt(0).long()


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_the_same_seed_gives_the_same_numbers(name: str, modalities: tuple[str, ...]) -> None:
    one, two, other = (build(name, modalities, seed) for seed in (3, 3, 4))
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)
    batch = sides(name, modalities)
    assert torch.equal(one(*batch, **context(name)).logits, two(*batch, **context(name)).logits)
    assert not torch.equal(one(*batch, **context(name)).logits, other(*batch, **context(name)).logits)


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_randomness_comes_only_from_the_passed_generator(name: str, modalities: tuple[str, ...]) -> None:
    model, batch = build(name, modalities).train(), sides(name, modalities)
    frames, words = (0 if x is None else x.shape[1] for x in (batch[0], batch[2]))

    def logits(seed: int) -> Tensor:
        draws = model.draw(UTTERANCES, frames, words, torch.Generator().manual_seed(seed))
        found: Tensor = model(*batch, **context(name), draws=draws, progress=0.0).logits
        return found

    before = torch.get_rng_state()
    assert torch.equal(logits(1), logits(1))
    assert torch.equal(torch.get_rng_state(), before)
    drawn = model.draw(UTTERANCES, frames, words, torch.Generator().manual_seed(1))
    assert bool(drawn) != torch.equal(logits(1), logits(2))


OPTIONAL = [pytest.param(e.name, m, id=f"{e.name}-{m}") for e in MODELS for m in e.value.optional]


@pytest.mark.parametrize(("name", "absent"), OPTIONAL)
def test_a_modality_may_be_absent_at_inference(name: str, absent: str) -> None:
    both = MODELS[name].modalities
    model, (audio, audio_lengths, text, text_lengths) = build(name, both).eval(), sides(name, both)
    if absent == "audio":
        audio = audio_lengths = None
    else:
        text = text_lengths = None
    found = model(audio, audio_lengths, text, text_lengths).logits
    assert found.shape == (UTTERANCES, 4)
    assert found.isfinite().all()
    assert not torch.allclose(found, model(*sides(name, both)).logits)


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_gradients_agree_with_finite_differences(name: str, modalities: tuple[str, ...]) -> None:
    model = build(name, modalities).double()
    batch = tuple(t.double() if t is not None and t.is_floating_point() else t for t in sides(name, modalities))
    parameter = next(p for p in model.parameters() if p.dim() == 2 or p.dim() == 1)
    model.loss(model(*batch, **context(name)), LABELS).backward()
    assert parameter.grad is not None
    place, step = int(parameter.grad.abs().argmax()), 1e-6
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            parameter.view(-1)[place] += sign * step
            values.append(model.loss(model(*batch, **context(name)), LABELS).item())
            parameter.view(-1)[place] -= sign * step
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(parameter.grad.view(-1)[place].item(), rel=1e-4)


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_class_weights_change_the_loss(name: str, modalities: tuple[str, ...]) -> None:
    model, batch = build(name, modalities), sides(name, modalities)
    plain = model.loss(model(*batch, **context(name)), LABELS).item()
    model.class_weights = torch.ones(4)
    assert model.loss(model(*batch, **context(name)), LABELS).item() == pytest.approx(plain, rel=1e-5)
    model.class_weights = torch.tensor([10.0, 1.0, 1.0, 1.0])
    assert model.loss(model(*batch, **context(name)), LABELS).item() != pytest.approx(plain, rel=1e-5)
    assert "class_weights" not in model.state_dict()


@pytest.mark.parametrize(("name", "modalities"), CASES)
def test_focal_weights_change_the_training_loss_or_are_refused(name: str, modalities: tuple[str, ...]) -> None:
    model, batch = build(name, modalities), sides(name, modalities)
    plain = model.loss(model(*batch, **context(name)), LABELS).item()
    model.objective = Objective(focal=2.0)
    changes = model.loss(model(*batch, **context(name)), LABELS).item() != pytest.approx(plain, rel=1e-3)
    assert changes != ("focal" in MODELS[name].preset("").idle())


@pytest.mark.parametrize("entry", list(MODELS), ids=lambda entry: entry.name)
def test_every_spec_names_a_default_feature_for_each_modality(entry: Any) -> None:
    assert set(entry.value.features) == set(entry.value.modalities)
    assert entry.description


def test_the_recurrence_equals_a_packed_bidirectional_gru() -> None:
    mine = BiGRU(5, 7)
    packed = torch.nn.GRU(5, 7, batch_first=True, bidirectional=True)
    own = mine.state_dict()
    packed.load_state_dict(
        {
            k: own[f"backwards.{k.removesuffix('_reverse')}" if "reverse" in k else f"forwards.{k}"]
            for k in packed.state_dict()
        }
    )
    x, lengths = torch.randn(4, 9, 5), torch.tensor([9, 1, 4, 7])
    expected = pad_packed_sequence(
        packed(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0], batch_first=True
    )[0]
    torch.testing.assert_close(mine(x, lengths), expected)


def test_a_masked_mean_divides_by_the_true_length() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    assert masked_mean(x, torch.tensor([2, 3])).tolist() == [[2.0], [7.0]]


def test_an_mlp_is_not_linear() -> None:
    torch.manual_seed(0)
    layer, x = mlp(3, 16, 2), torch.randn(1, 3)
    curved = layer(x) + layer(-x) - 2 * layer(torch.zeros(1, 3))
    assert curved.abs().max() > 1e-3

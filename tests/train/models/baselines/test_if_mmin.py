"""IF-MMIN against its equations, written out utterance by utterance, and the two stages of its training."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.common.errors import UsageError
from emofuse.train.models.base import Inputs
from emofuse.train.models.baselines.if_mmin import IFMMIN, Encoders, central_moment_discrepancy, preset
from emofuse.train.models.config import with_settings

torch.set_num_threads(1)

LENGTHS = {"audio": torch.tensor([6, 4, 1]), "text": torch.tensor([2, 3, 5])}
LABELS = torch.tensor([0, 1, 2])


def build() -> IFMMIN:
    torch.manual_seed(0)
    return IFMMIN(
        dataclasses.replace(preset("iemocap"), width=8, units=3, blocks=2), Inputs(audio=4, text=5, classes=3)
    )


def sides() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {m: torch.randn(3, t, d, generator=generator) for m, t, d in (("audio", 6, 4), ("text", 5, 5))}


def batch(**absent: None) -> tuple[Tensor | None, ...]:
    given: dict[str, Tensor | None] = {**sides(), **absent}
    found: list[Tensor | None] = []
    for m in ("audio", "text"):
        found += [given[m], None if given[m] is None else LENGTHS[m]]
    return tuple(found)


def vector_of(encoders: Encoders, modality: str, x: Tensor | None) -> Tensor:
    """e_m [w] of the frames of one utterance [T, D]; of one frame of zeros where there are none."""
    state = encoders.state_dict()
    if modality == "audio":
        gru = nn.GRU(4, 4, batch_first=True, bidirectional=True)
        name = {f"{n}{end}": state[f"gru.{d}.{n}"] for d, end in (("forwards", ""), ("backwards", "_reverse"))
                for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")}  # fmt: skip
        gru.load_state_dict(name)
        states: Tensor = gru((torch.zeros(1, 4) if x is None else x)[None])[0][0]
        return states.amax(0)
    x = torch.zeros(1, 5) if x is None else x
    maxima = []
    for i, kernel in enumerate((3, 4, 5)):
        weight, bias = (state[f"convolutions.{i}.convolution.{n}"] for n in ("weight", "bias"))
        left = (kernel - 1) // 2
        outputs = []
        for t in range(len(x)):
            inside = [(k, t + k - left) for k in range(kernel) if 0 <= t + k - left < len(x)]
            outputs.append(bias + torch.stack([weight[:, :, k] @ x[at] for k, at in inside]).sum(0))
        maxima.append(torch.stack(outputs).relu().amax(0))
    return F.relu(state["text.weight"] @ torch.cat(maxima) + state["text.bias"])


def invariant_of(encoders: Encoders, vector: Tensor) -> Tensor:
    for i in (0, 2):
        state = encoders.state_dict()
        vector = F.leaky_relu(
            state[f"invariant_layers.{i}.weight"] @ vector + state[f"invariant_layers.{i}.bias"], 0.01
        )
    return vector


def frames_of(row: int, missing: int) -> dict[str, Tensor | None]:
    return {m: None if missing == i else x[row, : LENGTHS[m][row]] for i, (m, x) in enumerate(sides().items())}


def reference(network: IFMMIN, missing: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [B, C], imagined vectors and invariant vectors [B, 2 w]; 0 or 1: audio or text is missing."""
    state = {name: t.detach() for name, t in network.state_dict().items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return state[f"{name}.weight"] @ x + state[f"{name}.bias"]

    found = []
    for row, which in enumerate(missing):
        vectors = [vector_of(network.encoders, m, x) for m, x in frames_of(row, which).items()]
        r, i, codes = torch.cat(vectors), torch.cat([invariant_of(network.encoders, v) for v in vectors]), []
        for k in range(2):
            z = r + i
            for n in (0, 2, 4):
                z = linear(f"imagination.encoders.{k}.{n}", z)
                z = F.leaky_relu(z, 0.01) if n < 4 else z
            codes.append(r := z)
            for n in (0, 2, 4):
                r = linear(f"imagination.decoders.{k}.{n}", r)
                r = r.relu() if n < 4 else r
        imagined = linear("imagination.transition.2", linear("imagination.transition.0", r).relu())
        h = torch.cat(codes)
        for n in (0, 1):
            h = linear(f"classifier.hidden.{n}", h).relu()
        found.append((linear("classifier.output", h), imagined, i))
    logits, imagined, invariant = (torch.stack(x) for x in zip(*found, strict=True))
    return logits, imagined, invariant


@pytest.mark.parametrize(("absent", "missing"), [({}, 2), ({"audio": None}, 0), ({"text": None}, 1)])
def test_the_equations_with_both_modalities_and_with_one(absent: dict[str, None], missing: int) -> None:
    network = build().eval()
    expected = reference(network, [missing] * 3)[0]
    torch.testing.assert_close(network(*batch(**absent)).logits, expected, atol=1e-6, rtol=1e-5)


def test_the_loss_compares_with_the_teacher_what_is_missing() -> None:
    network = build().train()
    missing = [1, 0, 2]
    keep = {"text": torch.ones(1, 3, 384, dtype=torch.bool), "hidden": torch.ones(2, 3, 8, dtype=torch.bool)}
    network.config = dataclasses.replace(network.config, dropout=0.0, imagination=2.0, invariance=3.0)
    for module in network.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.0  # type: ignore[assignment]
    outputs = network(*batch(), draws=keep | {"missing": torch.tensor(missing)})
    logits, imagined, invariant = reference(network, missing)
    targets, complete = [], []
    for row, which in enumerate(missing):
        frames = frames_of(row, 2)
        targets.append(
            torch.cat([vector_of(network.teacher, m, frames[m] if which == i else None) for i, m in enumerate(frames)])
        )
        complete.append(
            torch.cat([invariant_of(network.teacher, vector_of(network.teacher, m, x)) for m, x in frames.items()])
        )
    expected = (
        F.cross_entropy(logits, LABELS)
        + 2 * (imagined - torch.stack(targets)).square().mean()
        + 3 * (invariant - torch.stack(complete)).square().mean()
    )
    torch.testing.assert_close(network.loss(outputs, LABELS), expected, atol=1e-6, rtol=1e-5)


def test_the_teacher_adds_the_discrepancy_of_the_invariant_vectors() -> None:
    network = build().train()
    outputs = network(*batch(), progress=0.0)
    vectors = {m: [vector_of(network.teacher, m, frames_of(row, 2)[m]) for row in range(3)] for m in ("audio", "text")}
    audio, text = (torch.stack([invariant_of(network.teacher, v) for v in rows]) for rows in vectors.values())
    expected = F.cross_entropy(outputs.logits, LABELS) + central_moment_discrepancy(audio, text)
    torch.testing.assert_close(network.loss(outputs, LABELS), expected, atol=1e-6, rtol=1e-5)


def test_the_discrepancy_sums_the_distances_of_five_moments() -> None:
    # Means 1 and 2; moments 2 to 5 of the first are 1, 0, 1, 0, of the second 4, 0, 16, 0: 1 + 3 + 0 + 15 + 0.
    x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    assert central_moment_discrepancy(x, y).item() == pytest.approx(19)
    both = central_moment_discrepancy(x.expand(2, 2), y.expand(2, 2))
    assert both.item() == pytest.approx(19 * 2**0.5)
    one = torch.zeros(1, 2, requires_grad=True)
    central_moment_discrepancy(one, one * 2).backward()
    assert one.grad is not None
    assert one.grad.isfinite().all()


def test_the_network_starts_from_the_teacher_and_leaves_it_as_it_is() -> None:
    network = build()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)

    def step(progress: float) -> dict[str, Tensor]:
        network.train()
        draws = network.draw(3, 6, 5, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        network.loss(network(*batch(), draws=draws, progress=progress), LABELS).backward()
        optimiser.step()
        network.after_step(progress)
        return {name: t.clone() for name, t in network.state_dict().items()}

    first, second, third = step(0.0), step(0.3), step(0.4)
    for name in network.encoders.state_dict():
        assert torch.equal(second[f"encoders.{name}"], second[f"teacher.{name}"])
        assert torch.equal(second[f"teacher.{name}"], third[f"teacher.{name}"])
        assert not torch.equal(first[f"teacher.{name}"], second[f"teacher.{name}"])
        assert not torch.equal(second[f"encoders.{name}"], third[f"encoders.{name}"])
    for name in network.imagination.state_dict():
        assert torch.equal(first[f"imagination.{name}"], second[f"imagination.{name}"])
        assert not torch.equal(second[f"imagination.{name}"], third[f"imagination.{name}"])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["width=7"], "width=7: expected an even width"),
        (["patience=3"], "patience=3: expected at least 4, since the first 3 evaluations are in the teacher's stage"),
    ],
)
def test_settings_that_cannot_work_are_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_settings(preset("iemocap"), pairs, ("audio", "text"))
    with_settings(preset("iemocap"), ["width=6", "patience=4"], ("audio", "text"))

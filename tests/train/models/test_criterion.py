"""The losses and values of each kind of target, for every registered model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from train_samples import shrunk

from emofuse.manifests.targets.dimension import Dimension
from emofuse.manifests.targets.target import KINDS, Target
from emofuse.train.fitting.batch_changes import without_a_vote
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.base import Inputs
from emofuse.train.models.config import Config
from emofuse.train.models.criterion import Criterion, concordance, criterion_of
from emofuse.train.models.registry import MODELS

VALENCE = (Dimension(name="valence", low=1, high=5, field="valence"),)
CLASSES = ("a", "b", "c")
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.0, 1.0]])


def target(kind: Any) -> Target:
    return Target(
        kind=kind,
        classes=() if kind == "dimensions" else CLASSES,
        dimensions=VALENCE if "dimensions" in kind else (),
    )


def truth(kind: str, batch: int = 4) -> torch.Tensor:
    labels = torch.arange(batch) % 3
    ratings = torch.linspace(1, 5, batch).unsqueeze(1)
    return {
        "classes": labels,
        "distribution": torch.tensor([[3.0, 1, 0], [0, 2, 2], [1, 0, 0], [0, 0, 5]])[:batch],
        "multilabel": torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]])[:batch],
        "dimensions": ratings,
        "classes+dimensions": torch.cat([labels.unsqueeze(1).float(), ratings], dim=1),
    }[kind]


def criterion(kind: str, **settings: Any) -> Criterion:
    return criterion_of(target(kind), Config(**settings))


def test_a_divergence_is_soft_cross_entropy_without_the_entropy() -> None:
    votes = torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 2.0]])
    shares = votes / votes.sum(1, keepdim=True)
    log_q = torch.log_softmax(LOGITS, dim=1)
    kl = F.kl_div(log_q, shares, reduction="batchmean")
    assert criterion("distribution").loss(LOGITS, votes, None, None).item() == pytest.approx(kl.item())
    soft = criterion("distribution", loss="cross_entropy").loss(LOGITS, votes, None, None)
    assert soft.item() == pytest.approx(-(shares * log_q).sum(1).mean().item())


def test_one_vote_is_cross_entropy() -> None:
    one_hot = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 1.0]])
    expected = F.cross_entropy(LOGITS, torch.tensor([1, 2]))
    assert criterion("distribution").loss(LOGITS, one_hot, None, None).item() == pytest.approx(expected.item())


def test_ratings_are_learned_on_the_scale() -> None:
    rated = torch.tensor([[1.0], [3.0], [5.0]])
    perfect = torch.tensor([[0.0], [0.5], [1.0]])
    for loss in ("ccc", "mse", "mae"):
        assert criterion("dimensions", loss=loss).loss(perfect, rated, None, None).item() == pytest.approx(0, abs=1e-6)
    assert criterion("dimensions").values(perfect).tolist() == rated.tolist()
    assert criterion("dimensions").values(torch.tensor([[-3.0], [2.0]])).tolist() == [[1.0], [5.0]]
    mae = criterion("dimensions", loss="mae").loss(perfect + 0.25, rated, None, None)
    assert mae.item() == pytest.approx(0.25)


def test_concordance_of_a_batch() -> None:
    x = torch.tensor([[1.0], [2.0], [3.0]])
    assert concordance(x, x + 1).item() == pytest.approx(4 / 7)
    assert torch.isfinite(concordance(x[:1], x[:1])).all()


def test_two_heads_add_both_losses() -> None:
    logits = torch.cat([LOGITS, torch.tensor([[0.0], [1.0]])], dim=1)
    both = torch.tensor([[1.0, 2.0], [2.0, 5.0]])
    of_class = F.cross_entropy(LOGITS, torch.tensor([1, 2]))
    ratings = criterion("dimensions", loss="mse").loss(logits[:, 3:], both[:, 1:], None, None)
    found = criterion("classes+dimensions", loss="mse", ratings_weight=0.5).loss(logits, both, None, None)
    assert found.item() == pytest.approx((of_class + 0.5 * ratings).item())
    values = criterion("classes+dimensions").values(logits)
    assert values[:, :3].sum(1).tolist() == pytest.approx([1, 1])
    assert values[:, 3].tolist() == [1, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_outputs_have_the_weighted_mean_of_the_values(kind: str) -> None:
    found = criterion(kind)
    torch.manual_seed(0)
    logits = {m: torch.rand(5, target(kind).outputs) for m in ("s", "t")}
    mixed = found.values(found.mixed(logits, {"s": 0.3, "t": 0.7}))
    expected = 0.3 * found.values(logits["s"]) + 0.7 * found.values(logits["t"])
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "classes"])
@pytest.mark.parametrize("entry", list(MODELS), ids=lambda e: e.name)
def test_every_model_learns_every_target(entry: Any, kind: str) -> None:
    spec, wanted = entry.value, target(kind)
    modalities = spec.modalities[:1] if spec.needs == "one" else spec.modalities
    layers = 3 if spec.layered else 0
    inputs = Inputs(**dict.fromkeys(modalities, 6), layers=layers, classes=wanted.outputs)
    recipe = ModelRecipe(
        model=entry.name,
        settings=shrunk(spec.preset("")),
        inputs=inputs,
        classes=wanted.output_names,
        declared_target=wanted,
    )
    torch.manual_seed(0)
    network = recipe.build()
    shape = (4, 1 if spec.pool != "frames" else 7, *((layers,) if layers else ()), 6)
    batch: list[Any] = []
    for modality in ("audio", "text"):
        batch += [torch.randn(shape), torch.full((4,), shape[1])] if modality in modalities else [None, None]
    outputs = network(*batch, draws=network.draw(4, shape[1], shape[1], torch.Generator().manual_seed(0)))
    assert outputs.logits.shape == (4, wanted.outputs)
    loss = network.loss(outputs, truth(kind))
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    values = network.probabilities(outputs)
    assert values.shape == (4, wanted.outputs)
    if kind in ("distribution", "classes+dimensions"):
        torch.testing.assert_close(values[:, :3].sum(1), torch.ones(4))
    if kind == "dimensions":
        assert ((values >= 1) & (values <= 5)).all()


def test_a_vote_is_left_out_as_probably_as_its_class_has_votes() -> None:
    votes = torch.tensor([[3.0, 1.0, 0.0]]).repeat(4000, 1)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    found = without_a_vote(votes, torch.ones(4000, dtype=torch.bool), uniform)
    assert (found.sum(1) == 3).all()
    assert (found[:, 0] == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (found[:, 2] == 0).all()


def test_a_single_vote_and_shares_stay() -> None:
    votes = torch.tensor([[0.0, 1.0], [0.7, 0.3], [2.0, 0.0]])
    found = without_a_vote(votes, torch.tensor([True, True, False]), torch.full((3,), 0.5))
    assert found.tolist() == votes.tolist()

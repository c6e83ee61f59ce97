"""The changes of cross-entropy, worked out by hand, and that every model's loss follows them or refuses them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from emofuse.common.errors import UsageError
from emofuse.train.models.base import FusionModel
from emofuse.train.models.config import CROSS_ENTROPY, with_settings
from emofuse.train.models.objective import Objective, class_offsets
from emofuse.train.models.registry import MODELS

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
LABELS = torch.tensor([0, 2])


def loss(objective: Objective, weights: torch.Tensor | None = None) -> float:
    return objective.loss(LOGITS, LABELS, weights).item()


def test_smoothing_gives_every_class_a_share_of_the_target() -> None:
    expected = 0.0
    for row, label in ((0.5, 0.3, 0.2), 0), ((0.1, 0.1, 0.8), 2):
        targets = [0.1 / 3 + (0.9 if i == label else 0) for i in range(3)]
        expected -= sum(t * math.log(p) for t, p in zip(targets, row, strict=True)) / 2
    assert loss(Objective(smoothing=0.1)) == pytest.approx(expected)


def test_the_focal_loss_weighs_each_utterance_by_what_it_lacks() -> None:
    first, second = -(0.5**2) * math.log(0.5), -(0.2**2) * math.log(0.8)
    assert loss(Objective(focal=2.0)) == pytest.approx((first + second) / 2)
    weights = torch.tensor([3.0, 1.0, 1.0])
    assert loss(Objective(focal=2.0), weights) == pytest.approx((3 * first + second) / 4)


@pytest.mark.parametrize("weights", [None, torch.tensor([3.0, 1.0, 2.0])])
def test_without_changes_it_is_cross_entropy(weights: torch.Tensor | None) -> None:
    plain = F.cross_entropy(LOGITS, LABELS, weight=weights)
    assert torch.equal(Objective().loss(LOGITS, LABELS, weights), plain)
    assert loss(Objective(focal=1e-6), weights) == pytest.approx(plain.item(), rel=1e-4)


def test_a_small_focal_exponent_has_a_finite_gradient_where_the_model_is_certain() -> None:
    logits = torch.tensor([[100.0, 0.0]], requires_grad=True)
    Objective(focal=0.5).loss(logits, torch.tensor([0]), None).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_adjusted_logits_are_the_balanced_softmax() -> None:
    counts = torch.tensor([6, 3, 1])
    shares = torch.tensor([0.6, 0.3, 0.1])
    balanced = shares * LOGITS.exp()
    expected = -(balanced / balanced.sum(1, keepdim=True)).log()[[0, 1], LABELS].mean()
    assert loss(Objective(offsets=class_offsets(counts, 1.0))) == pytest.approx(expected.item())
    assert class_offsets(torch.tensor([2, 0]), 1.0).isfinite().all(), "a class without training utterances"


def test_validation_uses_plain_cross_entropy() -> None:
    model = FusionModel()
    model.objective = Objective(focal=2.0)
    assert model.train().target_loss(LOGITS, LABELS).item() == pytest.approx(loss(Objective(focal=2.0)))
    assert model.eval().target_loss(LOGITS, LABELS).item() == pytest.approx(loss(Objective()))


def test_a_model_with_a_loss_of_its_own_refuses_them_all_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        with_settings(MODELS["coattention"].preset(""), [f"{key}=0.5" for key in CROSS_ENTROPY], ("audio", "text"))
    message = str(caught.value)
    assert all(f"--set {key}: without effect, since the loss of this model is" in message for key in CROSS_ENTROPY)

"""What a model's outputs mean for each kind of target: the loss, and the values that are scored.

Shapes: B batch, C classes, D dimensions, K = C + D outputs.

- One class: cross-entropy; values are the softmax.
- Distribution: the Kullback-Leibler divergence of the softmax from the raters' shares. Soft cross-entropy differs by
  the entropy of the shares, so its gradients are the same.
- Several labels: binary cross-entropy of each class, mean over classes; values are sigmoids.
- Dimensions: 1 - CCC over the batch (Trigeorgis et al., ICASSP 2016), MSE or MAE, mean over dimensions, of ratings
  scaled to 0..1; values are on the scale, and at its ends where they would leave it. The CCC of a batch is a noisy
  estimate: small batches, and the micro-batches of a small memory, train on another estimate.
- One class and dimensions: the sum of both, the second with the setting `ratings_weight`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from emofuse.manifests.targets.target import Kind, Target
from emofuse.train.models.config import Config
from emofuse.train.models.objective import Objective

LOSSES: Mapping[Kind, tuple[str, ...]] = {
    "classes": ("cross_entropy",),
    "distribution": ("kl", "cross_entropy"),
    "multilabel": ("bce",),
    "dimensions": ("ccc", "mse", "mae"),
    "classes+dimensions": ("ccc", "mse", "mae"),
}
"""Kind of target -> the values of the setting `loss`, the default first; with two heads, that of the dimensions."""
_SMALLEST = 1e-8
"""Keeps the CCC of a batch of equal ratings finite."""


class Criterion:
    """The loss and the values of the outputs [B, K] of a classifier; this one is of one class."""

    @property
    def of_one_class(self) -> bool:
        """Whether the target is one class and nothing else."""
        return type(self) is Criterion

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor | None, objective: Objective | None) -> Tensor:
        """A scalar.

        Args:
            logits: [B, K].
            truth: As `Truth` says, [B] or [B, ...].
            weights: Of the classes [C].
            objective: What the settings change in the cross-entropy of a training step.
        """
        if objective is not None:
            return objective.loss(logits, truth, weights)
        return F.cross_entropy(logits, truth, weight=weights)

    def values(self, logits: Tensor) -> Tensor:
        """What is scored, [B, K]."""
        return torch.softmax(logits, dim=1)

    def mixed(self, logits: Mapping[str, Tensor], votes: Mapping[str, float]) -> Tensor:
        """Outputs [B, K] whose values are the weighted mean of those of several classifiers, by name.

        Args:
            logits: Classifier -> [B, K].
            votes: Classifier -> its weight; they sum to one.
        """
        parts = [torch.log_softmax(logits[m], dim=1) + math.log(vote) for m, vote in votes.items() if vote]
        return torch.logsumexp(torch.stack(parts), dim=0)


class DistributionCriterion(Criterion):
    """Of raters' votes [B, C].

    Args:
        entropy: Whether the entropy of the shares is subtracted, which makes the loss a divergence.
    """

    def __init__(self, *, entropy: bool) -> None:
        self._entropy = entropy

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor | None, objective: Objective | None) -> Tensor:
        """The divergence, or the soft cross-entropy, of the softmax from the shares of the votes."""
        shares = truth / truth.sum(1, keepdim=True)
        loss = super().loss(logits, shares.to(logits), weights, objective)
        return loss - torch.special.entr(shares).sum(1).mean() if self._entropy else loss


class MultilabelCriterion(Criterion):
    """Of several labels, 0 or 1 for each class [B, C]; `weights` multiply the term of a label that is there."""

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor | None, objective: Objective | None) -> Tensor:
        """Binary cross-entropy, mean over utterances and classes."""
        return F.binary_cross_entropy_with_logits(logits, truth.to(logits), pos_weight=weights)

    def values(self, logits: Tensor) -> Tensor:
        """Sigmoids."""
        return torch.sigmoid(logits)

    def mixed(self, logits: Mapping[str, Tensor], votes: Mapping[str, float]) -> Tensor:
        """The logits of the weighted mean of the sigmoids."""
        there, absent = (
            torch.logsumexp(
                torch.stack([F.logsigmoid(sign * logits[m]) + math.log(v) for m, v in votes.items() if v]), dim=0
            )
            for sign in (1, -1)
        )
        return there - absent


class DimensionCriterion(Criterion):
    """Of ratings on scales [B, D]; an output of 0 is the low end of the scale, 1 the high one.

    Args:
        target: Names the scales.
        loss: `ccc`, `mse` or `mae`.
    """

    def __init__(self, target: Target, loss: str) -> None:
        self._low = torch.tensor([d.low for d in target.dimensions])
        self._size = torch.tensor([d.high - d.low for d in target.dimensions])
        self._loss = loss

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor | None, objective: Objective | None) -> Tensor:
        """The mean over dimensions."""
        scaled = (truth.to(logits) - self._low.to(logits)) / self._size.to(logits)
        match self._loss:
            case "ccc":
                return 1 - concordance(scaled, logits).mean()
            case "mse":
                return F.mse_loss(logits, scaled)
        return F.l1_loss(logits, scaled)

    def values(self, logits: Tensor) -> Tensor:
        """Ratings on the scales."""
        return logits.clamp(0, 1) * self._size.to(logits) + self._low.to(logits)

    def mixed(self, logits: Mapping[str, Tensor], votes: Mapping[str, float]) -> Tensor:
        """The weighted mean."""
        return torch.stack([logits[m] * vote for m, vote in votes.items() if vote]).sum(0)


class TwoHeadCriterion(Criterion):
    """Of one class and ratings: the outputs are those of the classes, then those of the dimensions.

    Args:
        classes: C.
        ratings: Of the dimensions.
        weight: Of their loss.
    """

    def __init__(self, classes: int, ratings: DimensionCriterion, weight: float) -> None:
        self._classes, self._ratings, self._weight, self._of_class = classes, ratings, weight, Criterion()

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor | None, objective: Objective | None) -> Tensor:
        """The sum of both losses."""
        ours, theirs = logits[:, : self._classes], logits[:, self._classes :]
        return self._of_class.loss(ours, truth[:, 0].long(), weights, objective) + self._weight * self._ratings.loss(
            theirs, truth[:, 1:], None, None
        )

    def values(self, logits: Tensor) -> Tensor:
        """Probabilities of the classes, then ratings."""
        ours, theirs = logits[:, : self._classes], logits[:, self._classes :]
        return torch.cat([self._of_class.values(ours), self._ratings.values(theirs)], dim=1)

    def mixed(self, logits: Mapping[str, Tensor], votes: Mapping[str, float]) -> Tensor:
        """Each half as its own criterion mixes it."""
        ours = self._of_class.mixed({m: x[:, : self._classes] for m, x in logits.items()}, votes)
        theirs = self._ratings.mixed({m: x[:, self._classes :] for m, x in logits.items()}, votes)
        return torch.cat([ours, theirs], dim=1)


def concordance(truth: Tensor, predicted: Tensor) -> Tensor:
    """Lin's concordance correlation of each column [D] of two batches [B, D], with variances over B."""
    x, y = truth - truth.mean(0), predicted - predicted.mean(0)
    distance = (truth.mean(0) - predicted.mean(0)) ** 2
    return 2 * (x * y).mean(0) / ((x**2).mean(0) + (y**2).mean(0) + distance + _SMALLEST)


def criterion_of(target: Target, settings: Config) -> Criterion:
    """The criterion of a target, with the loss that the settings choose."""
    loss = LOSSES[target.kind][0] if settings.loss == "auto" else settings.loss
    match target.kind:
        case "distribution":
            return DistributionCriterion(entropy=loss == "kl")
        case "multilabel":
            return MultilabelCriterion()
        case "dimensions":
            return DimensionCriterion(target, loss)
        case "classes+dimensions":
            return TwoHeadCriterion(len(target.classes), DimensionCriterion(target, loss), settings.ratings_weight)
    return Criterion()

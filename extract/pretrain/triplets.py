"""The triplet loss of temporal proximity, with semi-hard negatives from the batch.

The slides of the TRILL-T5 source ask for an embedding g with |g(x_i) - g(x_j)| <= |g(x_i) - g(x_k)| when
|i - j| <= |i - k|, and print the loss sum_i [|g(x_i) - g(x_j)|^2 + |g(x_i) - g(x_k)|^2 + delta]. With that plus sign
every distance would shrink; the sign and the missing hinge are corrected here, as in Shor et al. 2020, which they
build on: mean of max(0, |g(x_i) - g(x_j)|^2 - |g(x_i) - g(x_k)|^2 + delta), over vectors brought to length 1.

Positives of i are the patches of the same recording that begin at most tau from it. Negatives are those of other
recordings, and of the same one those that begin more than tau from it: |i - j| <= tau < |i - k|. Of them the nearest
one farther than the positive is taken (semi-hard, where it lies within the margin; beyond it the loss is 0), and where
none is farther, the farthest: the others would pull everything into one point (Schroff et al. 2015,
https://arxiv.org/abs/1503.03832, 3.2).

Letters: N patches, D dimension, P positive pairs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def distances(embeddings: torch.Tensor) -> torch.Tensor:
    """Squared distances [N, N], 0 to 4, between embeddings [N, D] brought to length 1."""
    unit = F.normalize(embeddings, dim=1)
    return (2 - 2 * unit @ unit.T).clamp(min=0)


def proximity(recordings: torch.Tensor, seconds: torch.Tensor, tau: float) -> torch.Tensor:
    """Which patches lie near each other, bool [N, N]: of one recording and at most tau seconds apart; each to itself.

    Args:
        recordings: Number of each patch's recording [N].
        seconds: Where in it each patch begins [N].
        tau: In seconds.
    """
    one = recordings[:, None] == recordings
    return one & ((seconds[:, None] - seconds).abs() <= tau)


def mine(squared: torch.Tensor, near: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Anchors, positives and negatives [P]: every pair of near patches in both orders, and a semi-hard negative.

    Args:
        squared: Squared distances [N, N].
        near: As `proximity` tells; an anchor without any negative is left out.
    """
    pairs = near & ~torch.eye(len(near), dtype=torch.bool, device=near.device) & ~near.all(dim=1)[:, None]
    anchors, positives = pairs.nonzero(as_tuple=True)
    rows, far = squared.detach()[anchors], ~near[anchors]
    farther = far & (rows > squared.detach()[anchors, positives][:, None])
    nearest = rows.masked_fill(~farther, torch.inf).argmin(dim=1)
    farthest = rows.masked_fill(~far, -torch.inf).argmax(dim=1)
    return anchors, positives, torch.where(farther.any(dim=1), nearest, farthest)


def triplet_loss(embeddings: torch.Tensor, near: torch.Tensor, delta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss of all triplets, and the share of them whose loss is above 0.

    Args:
        embeddings: [N, D], of any length.
        near: As `proximity` tells.
        delta: The margin.
    """
    squared = distances(embeddings)
    anchors, positives, negatives = mine(squared, near)
    losses = F.relu(squared[anchors, positives] - squared[anchors, negatives] + delta)
    return losses.sum() / max(1, len(losses)), (losses > 0).float().sum().detach() / max(1, len(losses))

"""The triplet loss of temporal proximity, with semi-hard negatives from the batch.

The slides of the TRILL-T5 source ask for an embedding g with |g(x_i) - g(x_j)| <= |g(x_i) - g(x_k)| when
|i - j| <= |i - k|, and print the loss sum_i [|g(x_i) - g(x_j)|^2 + |g(x_i) - g(x_k)|^2 + delta]. With that plus sign
every distance would shrink. The sign and the missing hinge are corrected here as in Shor et al. 2020
(https://arxiv.org/abs/2002.12764), which the slides build on: the loss is the mean of
max(0, |g(x_i) - g(x_j)|^2 - |g(x_i) - g(x_k)|^2 + delta) over unit-length vectors.

Positives of i are patches of the same recording that start at most tau from it. Negatives are patches of other
recordings, and patches of the same recording that start more than tau from it: |i - j| <= tau < |i - k|. The chosen
negative is the nearest one that is farther than the positive (semi-hard if it lies within the margin; otherwise the
loss is 0). Where no negative is farther, it is the farthest: harder negatives would collapse the embedding (Schroff et
al. 2015, https://arxiv.org/abs/1503.03832, section 3.2).

Letters: N patches, D dimension, P positive pairs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def distances(embeddings: torch.Tensor) -> torch.Tensor:
    """Squared distances [N, N], 0 to 4, between embeddings [N, D] scaled to unit length."""
    unit = F.normalize(embeddings, dim=1)
    return (2 - 2 * unit @ unit.T).clamp(min=0)


def proximity(recordings: torch.Tensor, seconds: torch.Tensor, tau: float) -> torch.Tensor:
    """Which patches are close, bool [N, N]: of one recording and at most tau seconds apart; each is close to itself.

    Args:
        recordings: Number of the recording of each patch, [N].
        seconds: Start of each patch in its recording in seconds, [N].
        tau: Maximum distance in seconds.
    """
    same_recording = recordings[:, None] == recordings
    return same_recording & ((seconds[:, None] - seconds).abs() <= tau)


def mine(squared: torch.Tensor, near: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indices of anchors, positives and negatives, [P] each: every close pair in both orders, with one negative.

    Args:
        squared: Squared distances [N, N].
        near: Result of `proximity`, [N, N]; anchors without a negative are excluded.
    """
    pairs = near & ~torch.eye(len(near), dtype=torch.bool, device=near.device) & ~near.all(dim=1)[:, None]
    anchors, positives = pairs.nonzero(as_tuple=True)
    rows, far = squared.detach()[anchors], ~near[anchors]
    farther = far & (rows > squared.detach()[anchors, positives][:, None])
    nearest = rows.masked_fill(~farther, torch.inf).argmin(dim=1)
    farthest = rows.masked_fill(~far, -torch.inf).argmax(dim=1)
    return anchors, positives, torch.where(farther.any(dim=1), nearest, farthest)


def triplet_loss(embeddings: torch.Tensor, near: torch.Tensor, delta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss of all triplets, and the share of triplets with a loss above 0; two scalars.

    Args:
        embeddings: [N, D], of any length.
        near: Result of `proximity`, [N, N].
        delta: The margin.
    """
    squared = distances(embeddings)
    anchors, positives, negatives = mine(squared, near)
    losses = F.relu(squared[anchors, positives] - squared[anchors, negatives] + delta)
    return losses.sum() / max(1, len(losses)), (losses > 0).float().sum().detach() / max(1, len(losses))

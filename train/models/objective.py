"""The classification term of a training loss, with label smoothing, focal weights or adjusted logits.

- Label smoothing (Szegedy et al., CVPR 2016, section 7): each class has the target s / C, the true one 1 - s more.
- Focal loss (Lin et al., ICCV 2017, eq. 4): -(1 - p)^gamma log p of the true class; gamma = 0 is cross-entropy.
- Logit adjustment (Menon et al., ICLR 2021, eq. 10): cross-entropy of the logits plus tau times the logarithm of the
  shares of the classes in training; tau = 1 is the balanced softmax of Ren et al. (NeurIPS 2020). Predictions use the
  logits as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What replaces plain cross-entropy in a training step; the defaults change nothing."""

    smoothing: float = 0.0
    """s."""
    focal: float = 0.0
    """gamma."""
    offsets: Tensor | None = None
    """[C], added to the logits."""

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The mean over a batch, a scalar, for logits [B, C], with the weights [C] of the classes.

        Args:
            labels: Class numbers [B], or shares of the classes [B, C], with which there is no focal loss.
        """
        if self.offsets is not None:
            logits = logits + self.offsets
        if not self.focal:
            return F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.smoothing)
        log_p = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        # 1 - p, kept above zero, where a power below one has no finite gradient.
        missed = (-torch.expm1(log_p)).clamp(min=1e-7)
        losses = -missed.pow(self.focal) * log_p
        if weights is None:
            return losses.mean()
        of_labels = weights[labels]
        return (of_labels * losses).sum() / of_labels.sum()


def class_offsets(counts: Tensor, tau: float) -> Tensor:
    """tau times the log of the shares of the classes, [C], from how many utterances each has [C].

    A class without any counts as one utterance: the logarithm of zero is not a number to train with.
    """
    counts = counts.clamp(min=1)
    return tau * torch.log(counts / counts.sum())

"""Raters' votes as a distribution over the classes, and the scores of predicted distributions.

- KL, the Kullback-Leibler divergence of the prediction from the raters' shares, sum of p log(p / q), in nats.
- JS, the Jensen-Shannon divergence, in nats: 0 to log 2.
- soft macro F1 as in EMO-SUPERB (Wu et al. 2024): a class counts as present where its share exceeds 1 / C, in the
  raters' shares and in the prediction alike; F1 of each class, mean over classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.targets.multilabel import label_counts, label_scores

FLOOR = 1e-9
"""Predicted probabilities are raised to it, so that the divergence stays finite."""


def class_votes(
    votes: Mapping[str, float], labels: Mapping[str, str], classes: Sequence[str], other: str
) -> NDArray[np.float64]:
    """The votes for each class [C].

    Args:
        votes: Label -> votes.
        labels: Label -> class.
        classes: C names.
        other: What becomes of votes for labels that are no class: `ignore` or `spread`.
    """
    found = np.zeros(len(classes))
    for label, count in votes.items():
        if label in labels:
            found[classes.index(labels[label])] += count
        elif other == "spread":
            found += count / len(classes)
    return found


def shares(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Votes [n, C] divided by their sum."""
    found: NDArray[np.float64] = votes / votes.sum(1, keepdims=True)
    return found


def distribution_statistics(votes: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the scores are sums of, [n, 3 + 3 C]: 1, KL and JS, then the `label_counts` of the classes present.

    Args:
        votes: [n, C].
        predicted: Probabilities [n, C].
    """
    p, q = shares(votes), np.maximum(predicted, FLOOR)
    q = q / q.sum(1, keepdims=True)
    middle = (p + q) / 2
    js = (_divergence(p, middle) + _divergence(q, middle)) / 2
    threshold = 1 / p.shape[1]
    counts = label_counts(p > threshold, predicted > threshold)[:, : 3 * p.shape[1]]
    return np.column_stack([np.ones(len(p)), _divergence(p, q), js, counts])


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = np.log(np.where(p > 0, p / q, 1.0))
    found: NDArray[np.float64] = (p * logs).sum(1)
    return found


def distribution_scores(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """`kl`, `js` and `soft_macro_f1`, each [R], from sums [R, 3 + 3 C] of `distribution_statistics`."""
    n = np.maximum(sums[:, 0], 1)
    macro = label_scores(sums[:, 3:])["macro_f1"]
    return {"kl": sums[:, 1] / n, "js": sums[:, 2] / n, "soft_macro_f1": macro}

"""Several labels an utterance: the scores of predicted sets of labels, and the threshold that makes them.

A class is predicted where its probability reaches the threshold: one number for all classes, chosen on validation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLD = "threshold"
"""The key under which the validation scores of a training record the threshold."""
DEFAULT_THRESHOLD = 0.5
"""Where no validation side chooses it."""
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)
"""What is tried."""


def label_counts(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What the scores are sums of, [n, 3 C + 2]: true positives [C], false positives [C], false negatives [C], then
    the utterance's own F1 and 1.

    Args:
        truth: Whether the utterance has each label [n, C].
        predicted: Whether it is predicted [n, C].
    """
    tp, fp, fn = truth & predicted, ~truth & predicted, truth & ~predicted
    hits, wrong = tp.sum(1), fp.sum(1) + fn.sum(1)
    own = np.divide(2.0 * hits, 2 * hits + wrong, out=np.zeros(len(truth)), where=hits > 0)
    return np.column_stack([tp, fp, fn, own, np.ones(len(truth))]).astype(np.float64)


def label_scores(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """`macro_f1` and `micro_f1`, and `samples_f1` where the sums have it; each [R].

    As in scikit-learn, a class that is neither there nor predicted has F1 0 and counts in the mean.

    Args:
        sums: Of `label_counts` over the utterances of each of R samples: [R, 3 C + 2], or [R, 3 C].
    """
    classes = sums.shape[1] // 3
    tp, fp, fn = (sums[:, k * classes : (k + 1) * classes] for k in range(3))
    found = {"macro_f1": _f1(tp, fp, fn).mean(1), "micro_f1": _f1(tp.sum(1), fp.sum(1), fn.sum(1))}
    if sums.shape[1] > 3 * classes:
        found["samples_f1"] = sums[:, -2] / np.maximum(sums[:, -1], 1)
    return found


def _f1(tp: NDArray[np.float64], fp: NDArray[np.float64], fn: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = 2 * tp + fp + fn
    return np.divide(2 * tp, whole, out=np.zeros_like(tp), where=whole > 0)


def set_recalls(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> list[float | None]:
    """The recall of each class, of sets of labels [n, C]; None for a class without utterances."""
    hits, there = (truth & predicted).sum(0).tolist(), truth.sum(0).tolist()
    return [hit / n if n else None for hit, n in zip(hits, there, strict=True)]


def best_threshold(truth: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """The threshold of the highest macro F1, the one nearest to 0.5 of equals; for labels and probabilities [n, C]."""
    found = []
    for threshold in THRESHOLDS.tolist():
        sums = label_counts(truth > 0, probabilities >= threshold).sum(0, keepdims=True)
        found.append((float(label_scores(sums)["macro_f1"][0]), -abs(threshold - DEFAULT_THRESHOLD), threshold))
    return float(max(found)[2])


def mean_average_precision(truth: NDArray[np.float64], probabilities: NDArray[np.float64]) -> float | None:
    """The average precision of each class, mean over the classes that some utterance has; None where none has any."""
    from sklearn.metrics import average_precision_score

    present = np.flatnonzero(truth.any(0))
    if not len(present):
        return None
    return float(np.mean([average_precision_score(truth[:, c] > 0, probabilities[:, c]) for c in present]))

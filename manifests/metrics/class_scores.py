"""Scores of single classes and groups of utterances, and AUROC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.scores import Labels, mean_and_deviation, scores

GROUPS = ("speaker", "session", "gender")
"""The columns of utterances.csv whose values form groups with scores of their own."""
SMALLEST_GROUP = 10
"""Smaller groups are not called the worst: their scores are mostly chance."""


def per_class(labels: Labels, predictions: Labels, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Class -> precision, recall, f1 and support (its number of utterances).

    Precision is None where the class is never predicted, recall where it has no utterance, F1 where neither is there.

    Args:
        labels: True class numbers [n].
        predictions: Predicted class numbers [n].
        classes: Names by number.
    """
    numbers = np.arange(len(classes))
    return per_label(labels[:, None] == numbers, predictions[:, None] == numbers, classes)


def per_label(
    truth: NDArray[np.bool_], predictions: NDArray[np.bool_], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """`per_class` of utterances that may have several classes.

    Args:
        truth: Whether each class is there [n, C].
        predictions: Whether it is predicted [n, C].
        classes: Names by number.
    """
    table = {}
    for number, name in enumerate(classes):
        true, predicted = truth[:, number], predictions[:, number]
        hits, support, found = int((true & predicted).sum()), int(true.sum()), int(predicted.sum())
        table[name] = {
            "precision": _ratio(hits, found),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, support + found),
            "support": support,
        }
    return table


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def auroc(labels: Labels, probabilities: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve of each class against the others, mean over classes (Provost and Domingos 2000).

    None where a class has no utterance, as its curve is undefined.

    Args:
        labels: True class numbers [n].
        probabilities: Of the classes [n, C].
    """
    classes = probabilities.shape[1]
    if classes < 2 or len(np.unique(labels)) < classes:
        return None
    return float(np.mean([_area(labels == c, probabilities[:, c]) for c in range(classes)]))


def _area(positive: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    """The share of pairs of a positive and a negative in order, equal values as half, from mean ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    number = int(positive.sum())
    return float((ranks[positive].sum() - number * (number + 1) / 2) / (number * (len(values) - number)))


def group_scores(labels: Labels, predictions: Labels, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Group -> n, wa and ua (over the classes that it has), in the order of names; utterances of no group are left out.

    Args:
        labels: True class numbers [n].
        predictions: Predicted class numbers [n].
        names: The group of each utterance [n]; empty where unknown.
    """
    table, groups = {}, np.array(names)
    for name in sorted(set(names) - {""}):
        chosen = groups == name
        found = scores(labels[chosen], predictions[chosen])
        table[name] = {"n": int(chosen.sum()), "wa": found["wa"], "ua": found["ua"]}
    return table


def mean_over_groups(labels: Labels, predictions: Labels, names: Sequence[str]) -> dict[str, float | None]:
    """The mean wa and ua over groups, in which each group counts the same; None where a group is unknown."""
    if not len(names) or not all(names):
        return {"wa": None, "ua": None}
    found = [{k: g[k] for k in ("wa", "ua")} for g in group_scores(labels, predictions, names).values()]
    return mean_and_deviation(found)[0]


def worst_group(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Name, n, wa and ua of the group with the lowest UA; None where fewer than two have at least ten utterances."""
    large = {name: g for name, g in groups.items() if g["n"] >= SMALLEST_GROUP}
    if len(large) < 2:
        return None
    name = min(large, key=lambda n: large[n]["ua"])
    return {"name": name, **large[name]}

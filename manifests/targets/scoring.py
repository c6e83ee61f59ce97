"""The scores of a target: from true and predicted values, of many resamples at once, and as columns of a table.

Every score here but mAP follows from sums over utterances, so a bootstrap adds the sums of the units it draws.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.scores import LABEL_METRICS, METRICS, OF_DIMENSIONS, OF_LABEL_SETS, definition, scores
from emofuse.manifests.targets import dimension, distribution, multilabel
from emofuse.manifests.targets.target import Target, Truth, Values, class_numbers

_DISTRIBUTION = ("kl", "js", "soft_macro_f1")
_MULTILABEL = ("macro_f1", "micro_f1", "samples_f1")
Sums = NDArray[np.float64]
LabelSets = NDArray[np.bool_]
"""[n, C], whether each class is predicted."""


def extra_metrics(target: Target) -> tuple[str, ...]:
    """The metrics that only this kind of target has; none of the kind `classes`."""
    names = [d.name for d in target.dimensions]
    of_dimensions = [f"{m}{n}" for n in ("", *(f"_{n}" for n in names)) for m in OF_DIMENSIONS] if names else []
    by_kind = {"distribution": _DISTRIBUTION, "multilabel": (*_MULTILABEL, "map")}
    return (*by_kind.get(target.kind, ()), *of_dimensions)


def valid_metrics(target: Target) -> tuple[str, ...]:
    """Every metric that a protocol with this target may name."""
    return (*(METRICS if target.has_class else ()), *extra_metrics(target))


def selecting_metrics(target: Target) -> tuple[str, ...]:
    """The metrics that can select a checkpoint."""
    return (*(LABEL_METRICS if target.has_class else ()), *extra_metrics(target))


def comparable_metrics(target: Target) -> tuple[str, ...]:
    """The metrics that follow from sums over utterances, as a bootstrap and a permutation test need them."""
    return tuple(name for name in selecting_metrics(target) if name != "map")


def statistics(target: Target, truth: Truth, values: Values, sets: LabelSets | None = None) -> Sums:
    """The terms [n, M] whose sums over utterances give `extra_scores`; of the kind `classes` there is none.

    Args:
        truth: As `Truth` says.
        values: As `Values` says.
        sets: The predicted sets of labels, of `multilabel`.
    """
    match target.kind:
        case "distribution":
            return distribution.distribution_statistics(truth, values)
        case "multilabel":
            assert sets is not None
            return multilabel.label_counts(truth > 0, sets)
        case "dimensions":
            return dimension.rating_statistics(truth, values)
        case "classes+dimensions":
            return dimension.rating_statistics(truth[:, 1:], values[:, len(target.classes) :])
    return np.zeros((len(truth), 0))


def extra_scores(target: Target, sums: Sums) -> dict[str, NDArray[np.float64]]:
    """The scores [R] of each of R samples, from the sums [R, M] of `statistics`; without mAP."""
    match target.kind:
        case "distribution":
            return distribution.distribution_scores(sums)
        case "multilabel":
            return multilabel.label_scores(sums)
        case "classes":
            return {}
    return dimension.rating_scores(sums, [d.name for d in target.dimensions])


def value_scores(target: Target, truth: Truth, values: Values, sets: LabelSets | None = None) -> dict[str, float]:
    """Every score of predicted values: those of the class, if the target has one, and those of its kind.

    Args:
        truth, values, sets: As `statistics`.
    """
    found = scores(class_numbers(target, truth), values[:, : len(target.classes)].argmax(1)) if target.has_class else {}
    return found | kind_scores(target, truth, values, sets)


def kind_scores(target: Target, truth: Truth, values: Values, sets: LabelSets | None = None) -> dict[str, float]:
    """The scores that only this kind of target has; mAP is 0 where no utterance has a label."""
    sums = statistics(target, truth, values, sets).sum(0, keepdims=True)
    found = {name: float(value[0]) for name, value in extra_scores(target, sums).items()}
    if target.kind == "multilabel":
        precision = multilabel.mean_average_precision(truth, values)
        found |= {"map": 0.0 if precision is None else precision}
    return found


def sums_by_unit(terms: Sums, units: NDArray[np.int64], count: int) -> Sums:
    """The sums [G, M] of terms [n, M] over the utterances of each unit; `units` are numbers [n] from 0."""
    found = np.zeros((count, terms.shape[1]))
    np.add.at(found, units, terms)
    return found


def definitions(target: Target) -> Mapping[str, str]:
    """Metric -> its definition, of all `valid_metrics`."""
    own = OF_LABEL_SETS if target.kind == "multilabel" else {}
    return {name: own.get(name, definition(name)) for name in valid_metrics(target)}

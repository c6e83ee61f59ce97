"""Test predictions as arrays, and every score that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.calibration import calibration
from emofuse.manifests.class_metrics import GROUPS, auroc, group_scores, mean_over_groups, per_class, worst_group
from emofuse.manifests.metrics import NO_PREDICTION, Labels, confusion, recalls, scores

PROBABILITY, CALIBRATED = "p_", "calibrated_p_"
"""Starts of the columns of predictions.csv with class probabilities: the model's own, and with a temperature."""

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPredictions:
    """The predictions of one seed for n test utterances."""

    classes: Sequence[str]
    labels: Labels
    """True class numbers [n]."""
    predicted: Labels
    """Predicted class numbers [n]."""
    probabilities: NDArray[np.float64]
    """The model's own [n, C]."""
    calibrated: NDArray[np.float64] | None
    """With a temperature [n, C]; None where none was fitted."""
    utterances: Sequence[Row]
    """The rows of utterances.csv [n]."""

    @classmethod
    def read(cls, classes: Sequence[str], predictions: Sequence[Row], utterances: Sequence[Row]) -> ScoredPredictions:
        """From the rows of predictions.csv [n] of one seed and those of utterances.csv [n]."""
        index = {c: i for i, c in enumerate(classes)}
        labels, predicted = (np.array([index[r[k]] for r in predictions], np.int64) for k in ("label", "prediction"))
        has_calibrated = bool(predictions) and f"{CALIBRATED}{classes[0]}" in predictions[0]
        return cls(
            classes=classes,
            labels=labels,
            predicted=predicted,
            probabilities=_columns(predictions, PROBABILITY, classes),
            calibrated=_columns(predictions, CALIBRATED, classes) if has_calibrated else None,
            utterances=utterances,
        )

    def where(self, chosen: NDArray[np.bool_]) -> ScoredPredictions:
        """The predictions for which `chosen` [n] is true."""
        return ScoredPredictions(
            classes=self.classes,
            labels=self.labels[chosen],
            predicted=self.predicted[chosen],
            probabilities=self.probabilities[chosen],
            calibrated=None if self.calibrated is None else self.calibrated[chosen],
            utterances=[row for row, keep in zip(self.utterances, chosen.tolist(), strict=True) if keep],
        )

    def column(self, name: str) -> list[str]:
        """A column of utterances.csv [n]; empty where unknown."""
        return [row.get(name, "") for row in self.utterances]

    def values(self) -> dict[str, float | None]:
        """All `METRICS`; None where one is undefined: AUROC without a class, speaker means without speakers."""
        by_speaker = mean_over_groups(self.labels, self.predicted, self.column("speaker"))
        return {
            **scores(self.labels, self.predicted),
            "auroc": auroc(self.labels, self.probabilities),
            "speaker_wa": by_speaker["wa"],
            "speaker_ua": by_speaker["ua"],
        }


def _columns(rows: Sequence[Row], start: str, classes: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[float(row[f"{start}{c}"]) for c in classes] for row in rows]).reshape(len(rows), len(classes))


def details(seeds: Sequence[ScoredPredictions]) -> dict[str, Any]:
    """What metrics.json says of classes, groups and calibration: the mean over seeds, the confusion their sum.

    Args:
        seeds: The predictions of each seed for the same utterances.
    """
    count = len(seeds[0].classes)
    matrix = sum((confusion(s.labels, s.predicted, count) for s in seeds), np.zeros((count, count), np.int64))
    groups = _groups(seeds)
    worst = {column: worst_group(table) for column, table in groups.items()}
    return {
        "recall": dict(zip(seeds[0].classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
        "per_class": mean_over_seeds([per_class(s.labels, s.predicted, s.classes) for s in seeds]),
        "groups": groups,
        "worst_groups": {column: group for column, group in worst.items() if group},
        "calibration": _calibration(seeds),
    }


def over_all(seeds: Sequence[ScoredPredictions], missing: Labels) -> dict[str, Any]:
    """n, missing and the `LABEL_METRICS` (mean over seeds) where utterances without a prediction count as wrong.

    Args:
        seeds: The predictions of each seed.
        missing: True class numbers [m] of the utterances without a prediction.
    """
    none = np.full(len(missing), NO_PREDICTION, np.int64)
    found = [scores(np.append(s.labels, missing), np.append(s.predicted, none)) for s in seeds]
    return {"n": len(seeds[0].labels) + len(missing), "missing": len(missing), **mean_over_seeds(found)}


def _groups(seeds: Sequence[ScoredPredictions]) -> dict[str, dict[str, Any]]:
    """Column of utterances.csv -> group -> n, wa and ua; columns without values are left out."""
    columns = [name for name in GROUPS if any(seeds[0].column(name))]
    tables = {name: [group_scores(s.labels, s.predicted, s.column(name)) for s in seeds] for name in columns}
    return {name: dict(mean_over_seeds(of_seeds)) for name, of_seeds in tables.items()}


def _calibration(seeds: Sequence[ScoredPredictions]) -> dict[str, Any]:
    own = [(s.labels, s.probabilities) for s in seeds]
    scaled = [(s.labels, s.calibrated) for s in seeds if s.calibrated is not None]
    return _mean_calibration(own) | ({"calibrated": _mean_calibration(scaled)} if scaled else {})


def _mean_calibration(seeds: Sequence[tuple[Labels, NDArray[np.float64]]]) -> dict[str, Any]:
    """The mean error over seeds; the reliability diagram is that of all seeds' predictions together."""
    labels, probabilities = (np.concatenate(arrays) for arrays in zip(*seeds, strict=True))
    pooled = calibration(labels, probabilities)
    errors = [{k: v for k, v in calibration(*seed).items() if k != "reliability"} for seed in seeds]
    return pooled | dict(mean_over_seeds(errors))


def mean_over_seeds(found: Sequence[Any]) -> Any:
    """The mean of numbers at equal places of nested mappings; None where a seed has None; counts and texts stay."""
    first = found[0]
    if isinstance(first, Mapping):
        return {key: mean_over_seeds([f[key] for f in found]) for key in first}
    if any(value is None for value in found):
        return None
    return float(np.mean(found)) if isinstance(first, float) else first

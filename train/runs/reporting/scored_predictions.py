"""Test predictions as arrays, and every score that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.calibration import calibration
from emofuse.manifests.metrics.class_scores import (
    GROUPS,
    auroc,
    group_scores,
    mean_over_groups,
    per_class,
    per_label,
    worst_group,
)
from emofuse.manifests.metrics.scores import NO_PREDICTION, Labels, confusion, recalls, scores
from emofuse.manifests.targets.target import Target
from emofuse.train.fitting.scoring.prediction_table import CALIBRATED, Predictions, numbers, read_predictions

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPredictions:
    """The predictions of one seed for n test utterances."""

    found: Predictions
    calibrated: NDArray[np.float64] | None
    """With a temperature [n, C]; None where none was fitted."""
    utterances: Sequence[Row]
    """The rows of utterances.csv [n]."""

    @classmethod
    def read(cls, target: Target, predictions: Sequence[Row], utterances: Sequence[Row]) -> ScoredPredictions:
        """From the rows of predictions.csv [n] of one seed and those of utterances.csv [n]."""
        has_calibrated = bool(predictions) and any(name.startswith(CALIBRATED) for name in predictions[0])
        return cls(
            found=read_predictions(target, predictions),
            calibrated=numbers(predictions, CALIBRATED, target.classes) if has_calibrated else None,
            utterances=utterances,
        )

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.found.target

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""
        return self.target.classes

    @property
    def labels(self) -> Labels:
        """True class numbers [n]."""
        return self.found.labels

    @property
    def predicted(self) -> Labels:
        """Predicted class numbers [n]."""
        return self.found.predicted

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The model's own [n, C]."""
        return self.found.probabilities

    def where(self, chosen: NDArray[np.bool_]) -> ScoredPredictions:
        """The predictions for which `chosen` [n] is true."""
        return ScoredPredictions(
            found=self.found.where(chosen),
            calibrated=None if self.calibrated is None else self.calibrated[chosen],
            utterances=[row for row, keep in zip(self.utterances, chosen.tolist(), strict=True) if keep],
        )

    def column(self, name: str) -> list[str]:
        """A column of utterances.csv [n]; empty where unknown."""
        return [row.get(name, "") for row in self.utterances]

    def values(self) -> dict[str, float | None]:
        """All metrics of the target; None where one is undefined, such as AUROC without a class."""
        if not self.target.has_class:
            return {**self.found.kind_scores()}
        by_speaker = mean_over_groups(self.labels, self.predicted, self.column("speaker"))
        return {
            **scores(self.labels, self.predicted),
            **self.found.kind_scores(),
            "auroc": auroc(self.labels, self.probabilities),
            "speaker_wa": by_speaker["wa"],
            "speaker_ua": by_speaker["ua"],
        }


def details(seeds: Sequence[ScoredPredictions]) -> dict[str, Any]:
    """What metrics.json says of classes, groups and calibration: the mean over seeds, the confusion their sum.

    Args:
        seeds: The predictions of each seed for the same utterances.
    """
    if not seeds[0].target.has_class:
        return _label_details(seeds) if seeds[0].found.sets is not None else {"recall": {}, "confusion": []}
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


def _label_details(seeds: Sequence[ScoredPredictions]) -> dict[str, Any]:
    """The same of several labels: the recall, and the scores of each label; the mean over seeds."""
    tables = [per_label(s.found.truth > 0, s.found.sets, s.classes) for s in seeds if s.found.sets is not None]
    per_class = mean_over_seeds(tables)
    return {"recall": {c: row["recall"] for c, row in per_class.items()}, "confusion": [], "per_class": per_class}


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

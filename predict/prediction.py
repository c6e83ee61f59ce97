"""One prediction: what a run says of a clip or of a part of it, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.targets.target import LABEL_SEPARATOR, Target
from emofuse.predict.ensemble import ModelValues
from emofuse.predict.recordings.windows import Window

DIGITS = 6
"""Decimals of a probability, as in predictions.csv."""
Kind = Literal["clip", "window", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a run says of one clip, of one window of it, or of all its windows together."""

    id: str
    """The path as it was given, or the id in the manifest."""
    kind: Kind
    """`clip`: a whole clip. `window`: a part of it. `mean`: the mean over its windows, weighted by their lengths."""
    start: float | None
    """Seconds in the file; None for a text alone."""
    end: float | None
    prediction: str
    """The most probable class; the labels that reach the threshold, joined by commas; empty where ratings alone are
    predicted."""
    probabilities: Mapping[str, float]
    """Class -> probability, the mean over the models; empty where ratings alone are predicted."""
    models: int
    """How many models were asked: folds times seeds."""
    spread: float | None
    """Standard deviation, over the models, of the probability of `prediction`; None for one model."""
    calibrated: Mapping[str, float] | None = None
    """Class -> probability with the temperatures of the models; None where the run has fitted none."""
    missing: tuple[str, ...] = ()
    """Modalities that the run was trained on and the clip does not have."""
    ratings: Mapping[str, float] | None = None
    """Dimension -> predicted rating, the mean over the models; None where none is predicted."""
    text: str | None = None
    """The words, where a speech recogniser wrote them."""

    def record(self) -> dict[str, Any]:
        """The prediction as JSON-ready values."""
        return {
            "id": self.id,
            "kind": self.kind,
            "start": self.start,
            "end": self.end,
            "prediction": self.prediction,
            "probabilities": dict(self.probabilities),
            "calibrated": None if self.calibrated is None else dict(self.calibrated),
            "models": self.models,
            "spread": self.spread,
            "missing": list(self.missing),
            **({} if self.ratings is None else {"ratings": dict(self.ratings)}),
            "text": self.text,
        }

    def row(self) -> dict[str, Any]:
        """The prediction as a row of a CSV file, with `p_CLASS`, and of a calibrated run `calibrated_p_CLASS`."""
        record = self.record()
        kinds = (("p", record.pop("probabilities")), ("calibrated_p", record.pop("calibrated") or {}))
        probabilities = {f"{kind}_{name}": f"{p:.{DIGITS}f}" for kind, found in kinds for name, p in found.items()}
        probabilities |= {
            f"predicted_{name}": f"{v:.{DIGITS}f}" for name, v in (record.pop("ratings", None) or {}).items()
        }
        record["missing"] = " ".join(self.missing)
        head = {name: record.pop(name) for name in ("id", "kind", "start", "end", "prediction")}
        return {**head, **probabilities, **record}


def predicted(by_model: ModelValues, target: Target, threshold: float, **about: Any) -> Prediction:
    """The prediction that follows from what each model says.

    Args:
        by_model: [2 or 1, M, K]; the class is chosen by the models' own probabilities, as `fit` does.
        target: Names the K values.
        threshold: From which a label is predicted, where there are several.
        **about: The other fields of the prediction.
    """
    classes, count, models = target.classes, len(target.classes), by_model.shape[1]
    own, *calibrated = (_named(classes, row[:count]) for row in by_model.mean(1))
    mean, spread = by_model[0].mean(axis=0), None
    if target.kind == "multilabel":
        prediction = LABEL_SEPARATOR.join(c for c, p in zip(classes, mean, strict=True) if p >= threshold)
    elif classes:
        top = int(mean[:count].argmax())
        prediction = classes[top]
        spread = round(float(by_model[0, :, top].std()), DIGITS) if models > 1 else None
    else:
        prediction = ""
    return Prediction(
        prediction=prediction,
        probabilities=own,
        calibrated=calibrated[0] if calibrated else None,
        models=models,
        spread=spread,
        ratings=_named([d.name for d in target.dimensions], mean[count:]) if target.dimensions else None,
        **about,
    )


def _named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(value), DIGITS) for name, value in zip(names, values, strict=True)}


class MeanOfWindows:
    """The mean over the windows of one clip, weighted by their lengths."""

    def __init__(self) -> None:
        self._sum: ModelValues | None = None
        self._seconds = 0.0
        self._start: float | None = None
        self._missing: dict[str, None] = {}

    def add(self, by_model: ModelValues, window: Window, missing: Sequence[str]) -> None:
        """Count one more window, with [K, M, C] probabilities."""
        seconds = (window.end or 0.0) - (window.start or 0.0) or 1.0  # a text alone has no length
        self._sum = by_model * seconds + (0 if self._sum is None else self._sum)
        self._seconds += seconds
        self._start = window.start if self._start is None else self._start
        self._missing |= dict.fromkeys(missing)

    @property
    def by_model(self) -> ModelValues | None:
        """[K, M, C]; None without any window."""
        return None if self._sum is None else self._sum / self._seconds

    def about(self, last: Window) -> dict[str, Any]:
        """The other fields of the prediction, with the clip's `last` window."""
        return {
            "id": last.of.id,
            "kind": "mean",
            "start": self._start,
            "end": last.end,
            "missing": tuple(self._missing),
        }

"""What compact storage costs: the error of fp16, bf16 and int8 per channel, and its effect on a fit's score."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.store.core.feature import Feature
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import STORED_DTYPES, decode_values, encode_values
from emofuse.store.edit.rewrite import channel_scale, copy

DTYPES = ("float32", "float16", "bfloat16", "int8")
SHORT_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageError:
    """The error of storing a feature as one dtype, against the values that the store holds."""

    feature: str
    reference: str
    """The dtype in the store; only with `float32` are its values exactly the encoder's."""
    dtype: str
    bytes: int
    """Of all values."""
    decibels: float | None
    """Signal-to-error ratio over all values: 10 log10(sum x^2 / sum (x - x')^2); None where the error is zero."""
    largest: float
    """The largest error, relative to the largest value."""
    fits: bool = True
    """False where a value is too large for float16."""


class _ErrorSums:
    """The error of one dtype, summed up over utterances."""

    def __init__(self, dtype: str, scale: NDArray[np.float32] | None) -> None:
        self.dtype, self._scale = dtype, scale
        self.squared, self.largest, self.fits = 0.0, 0.0, True

    def add(self, values: NDArray[np.float64]) -> None:
        try:
            stored = encode_values(values.astype(np.float32), self.dtype, self._scale)
            decoded = decode_values(stored, self.dtype, self._scale)
        except DataError:
            self.fits = False
            return
        difference = np.abs(decoded.astype(np.float64) - values)
        self.squared += float(np.square(difference).sum())
        self.largest = max(self.largest, float(difference.max()))


def storage_errors(feature: Feature) -> list[StorageError]:
    """Encode every utterance of a feature as each dtype, and compare.

    Raises:
        DataError: Damaged values.
    """
    scale = channel_scale(feature)
    sums = [_ErrorSums(dtype, scale if dtype == "int8" else None) for dtype in DTYPES]
    signal, peak = 0.0, 0.0
    for id in feature.ids:
        values = feature.read([id]).values.astype(np.float64)
        signal += float(np.square(values).sum())
        peak = max(peak, float(np.abs(values).max()))
        for one in sums:
            one.add(values)
    count = feature.nbytes // feature.spec.frame_bytes * int(np.prod(feature.spec.frame_shape))
    return [
        StorageError(
            feature=feature.name,
            reference=feature.spec.dtype,
            dtype=one.dtype,
            bytes=count * STORED_DTYPES[one.dtype].itemsize + (scale.nbytes if one.dtype == "int8" else 0),
            decibels=10 * float(np.log10(signal / one.squared)) if one.squared and signal else None,
            largest=one.largest / peak if peak else 0.0,
            fits=one.fits,
        )
        for one in sums
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitScore:
    """The score of a fit from a copy of the store whose values are stored as one dtype."""

    dtype: str
    metric: str
    mean: float
    deviation: float | None
    """Standard deviation over folds; None where there is one fold."""
    folds: tuple[float, ...]
    """The score of each fold, seed by seed."""
    difference: float
    """Mean difference to the first dtype over folds and seeds, each fold compared with itself."""
    spread: float | None
    """Standard deviation of these differences; None where there is one."""


def fit_scores(path: Path, options: Sequence[str], metric: str = "ua") -> list[FitScore]:
    """Fit the same model from a copy of a store as each dtype, with the same folds and seeds.

    Args:
        path: The store.
        options: Options of `fit` without the store and the run folder, such as `--model concat --steps 300`.
        metric: One of the run's metrics.

    Raises:
        UsageError: `fit` fails; quotes its message.
    """
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.precision-", dir=path.resolve().parent) as folder:
        runs = [_fit_copy(path, dtype, Path(folder), options, metric) for dtype in DTYPES]
    _, reference = runs[0]
    scores = []
    for dtype, (metrics, folds) in zip(DTYPES, runs, strict=True):
        differences = np.subtract(folds, reference)
        scores.append(
            FitScore(
                dtype=dtype,
                metric=metric,
                mean=metrics["mean"][metric],
                deviation=metrics["std"][metric],
                folds=tuple(folds),
                difference=float(differences.mean()),
                spread=float(differences.std(ddof=1)) if len(differences) > 1 else None,
            )
        )
    return scores


def _fit_copy(
    path: Path, dtype: str, folder: Path, options: Sequence[str], metric: str
) -> tuple[dict[str, Any], list[float]]:
    """Fit from a copy of the store as `dtype`: the run's metrics, and the score of each fold, seed by seed."""
    slim, out = folder / f"{dtype}.h5", folder / dtype
    with FeatureStore(path) as store:
        copy(store, slim, dtype=dtype)
    # A command, as a user would type it: stage 2 imports the store, the store does not import stage 2.
    command = [sys.executable, "-m", "emofuse.common.umbrella", "fit", "--store", str(slim), "--out", str(out)]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not (out / "metrics.json").is_file():
        raise UsageError(
            f"`fit` from the {SHORT_NAMES[dtype]} copy failed with exit code {done.returncode}: {done.stderr[-800:]}"
        )
    metrics = json.loads((out / "metrics.json").read_text())
    runs = [json.loads(p.read_text()) for p in sorted(out.glob("seed*/metrics.json"))] or [metrics]
    slim.unlink()
    return metrics, [fold["test"][metric] for run in runs for fold in run["folds"]]

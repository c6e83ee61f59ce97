"""The price of compactness: what fp16, bf16 and int8 per channel lose of a feature, and what that does to a score."""

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

from emofuse.common.errors import DataError, UsageError
from emofuse.store.core.feature import Feature
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import RAW, decode_values, encode_values
from emofuse.store.edit.rewrite import channel_scale, copy

STORED_AS = ("float32", "float16", "bfloat16", "int8")
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one way of storing a feature loses against the values that the store holds."""

    feature: str
    reference: str
    """What the store holds; only `float32` is what the encoder gave."""
    dtype: str
    bytes: int
    """Of all values."""
    decibels: float | None
    """Signal to error over all values: 10 log10(sum x^2 / sum (x - x')^2); none where nothing is lost."""
    largest: float
    """The largest error, relative to the largest value."""
    fits: bool = True
    """False where a value is too large for float16."""


def losses(feature: Feature) -> list[Loss]:
    """Store every utterance of a feature in each way, and compare.

    Raises:
        DataError: Damaged values.
    """
    scale = channel_scale(feature)
    signal, error = 0.0, dict.fromkeys(STORED_AS, 0.0)
    worst, peak, fits = dict.fromkeys(STORED_AS, 0.0), 0.0, dict.fromkeys(STORED_AS, True)
    for id in feature.ids:
        values = feature.read([id]).values.astype(np.float64)
        signal += float(np.square(values).sum())
        peak = max(peak, float(np.abs(values).max()))
        for dtype in STORED_AS:
            used = scale if dtype == "int8" else None
            try:
                back = decode_values(encode_values(values.astype(np.float32), dtype, used), dtype, used)
            except DataError:
                fits[dtype] = False
                continue
            difference = np.abs(back.astype(np.float64) - values)
            error[dtype] += float(np.square(difference).sum())
            worst[dtype] = max(worst[dtype], float(difference.max()))
    frames = feature.nbytes // feature.spec.frame_bytes * int(np.prod(feature.spec.frame_shape))
    return [
        Loss(
            feature=feature.name,
            reference=feature.spec.dtype,
            dtype=dtype,
            bytes=frames * RAW[dtype].itemsize + (scale.nbytes if dtype == "int8" else 0),
            decibels=10 * float(np.log10(signal / error[dtype])) if error[dtype] and signal else None,
            largest=worst[dtype] / peak if peak else 0.0,
            fits=fits[dtype],
        )
        for dtype in STORED_AS
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A fit from a copy of the store whose values are stored in one way."""

    dtype: str
    metric: str
    mean: float
    deviation: float | None
    """None where there is one fold, whose score deviates from nothing."""
    folds: tuple[float, ...]
    """Of every seed, in turn."""
    difference: float
    """Mean over folds and seeds of the difference to the first way, each fold against itself."""
    spread: float | None
    """Deviation of these differences; none where there is one."""


def score(path: Path, words: Sequence[str], metric: str = "ua") -> list[Score]:
    """Fit the same model from copies of a store in each way, with the same folds and seeds.

    Args:
        path: The store.
        words: Arguments of `fit` but for the store and the run folder, such as `--model concat --steps 300`.
        metric: Which of the run's metrics.

    Raises:
        UsageError: `fit` refuses; says what it said.
    """
    found: list[tuple[str, dict[str, Any], list[float]]] = []
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.precision-", dir=path.resolve().parent) as folder:
        for dtype in STORED_AS:
            slim, out = Path(folder) / f"{dtype}.h5", Path(folder) / dtype
            with FeatureStore(path) as store:
                copy(store, slim, dtype=dtype)
            # A command, as a user would give it: stage 2 knows the store, the store does not know stage 2.
            command = [sys.executable, "-m", "emofuse.common.umbrella", "fit", "--store", str(slim), "--out", str(out)]
            done = subprocess.run([*command, *words], capture_output=True, text=True)
            if done.returncode not in (0, 1) or not (out / "metrics.json").is_file():
                raise UsageError(
                    f"`fit` from the {SHORT[dtype]} copy ended with {done.returncode}: {done.stderr[-800:]}"
                )
            metrics = json.loads((out / "metrics.json").read_text())
            runs = [json.loads(p.read_text()) for p in sorted(out.glob("seed*/metrics.json"))] or [metrics]
            found.append((dtype, metrics, [fold["test"][metric] for run in runs for fold in run["folds"]]))
            slim.unlink()
    reference = found[0][2]
    scores = []
    for dtype, metrics, folds in found:
        differences = np.subtract(folds, reference)
        scores.append(
            Score(
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

"""Fits the temperature of a fold's probabilities, on its validation side alone and before its test side is scored."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.disk.run_folder import read_json, write_json
from emofuse.common.errors import DataError
from emofuse.manifests.metrics.calibration import TEMPERATURES, fit_temperature
from emofuse.manifests.targets.target import Target, class_numbers
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import model_file
from emofuse.train.fitting.loop import predict
from emofuse.train.fitting.scoring.score_test import CALIBRATION, RESULT, WEIGHTS


def calibrate(folder: Path, target: Target, data: TaskData, validation: Indices) -> None:
    """Fit the temperature of a fold's selected weights and write calibration.json, unless that was done before.

    Args:
        folder: Of the fold; has its weights.
        target: Has one class an utterance.
        data: Features and labels; the statistics stored with the weights are used.
        validation: The utterances [n] of the validation side.

    Raises:
        RuntimeError: The test side is scored already.
        DataError: The weights are damaged.
    """
    path = folder / CALIBRATION
    if path.exists():
        return
    if (folder / RESULT).exists():
        raise RuntimeError(f"{folder}: the test side is scored already, so {CALIBRATION} must not change")
    model, _, statistics = model_file.load(folder / WEIGHTS, data.labels.device)
    values, _ = predict(model, data.with_statistics(statistics), validation)
    labels = class_numbers(target, data.labels.cpu().numpy()[validation])
    temperature = fit_temperature(labels, values[:, : len(target.classes)])
    write_json(
        path,
        {
            "method": "temperature",
            "temperature": temperature,
            "limits": list(TEMPERATURES),
            "fitted_on": "validation",
            "utterances": len(validation),
        },
    )


def stored_temperature(folder: Path) -> float:
    """The temperature that a fold's folder stores; 1 where it stores none.

    Raises:
        DataError: calibration.json is damaged.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return 1.0
    content = read_json(path)
    value = content.get("temperature") if isinstance(content, dict) else None
    low, high = TEMPERATURES
    if not isinstance(value, float) or not low <= value <= high:
        raise DataError(f"{path}: temperature is {value!r}, expected a number from {low:g} to {high:g}")
    return value

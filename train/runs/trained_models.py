"""The trained models of a finished run: of each fold and seed, and the mean of what several of them say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.common.disk.run_folder import read_json
from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.manifests.metrics.calibration import with_temperature
from emofuse.manifests.targets.multilabel import DEFAULT_THRESHOLD
from emofuse.train.data.batches import Statistics, TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import model_file
from emofuse.train.fitting.loop import collect
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.scoring.calibrate import stored_temperature
from emofuse.train.fitting.scoring.score_test import SELECTION, WEIGHTS, threshold_of
from emofuse.train.models.base import FusionModel
from emofuse.train.runs.finished_run import FINAL, Run
from emofuse.train.runs.run_digests import check_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """One trained model of a run, in evaluation mode."""

    seed: int
    fold: int | None
    """The fold's number; None for the final model, which is trained on all data."""
    path: Path
    """The file of its weights."""
    model: FusionModel
    recipe: ModelRecipe
    statistics: Statistics
    """Standardise the inputs."""
    temperature: float = 1.0
    """Of calibrated probabilities, fitted on the fold's validation side; 1 where there is none, as of a final model."""
    threshold: float = DEFAULT_THRESHOLD
    """From which a label is predicted, where there are several; chosen on the fold's validation side."""

    def values(self, data: TaskData, indices: Indices, calibrated: bool = False) -> NDArray[np.float64]:
        """Values of utterances `indices` [n]: the model's own [1, n, K], then class probabilities with the temperature.

        Args:
            data: Its statistics are replaced by the model's.
            indices: [n].
            calibrated: Give both, [2, n, C], of a target of one class.
        """
        # Without the loss: clips to predict have no true values.
        standardised = data.with_statistics(self.statistics)
        found = collect(self.model, standardised, indices, lambda outputs, _: self.model.probabilities(outputs))
        own = found.astype(np.float64)
        if not calibrated:
            return own[None]
        classes = len(self.recipe.target.classes)
        scaled = np.column_stack([with_temperature(own[:, :classes], self.temperature), own[:, classes:]])
        return np.stack([own, scaled])


def trained_models(
    run: Run, fold: int | None = None, device: torch.device | str = "cpu", *, final: bool = False
) -> list[TrainedModel]:
    """The models of all folds and seeds of a run, those of one fold, or the final model.

    Raises:
        UnknownNameError: The run has no fold of this number.
        UsageError: The run has no final model, or is an evaluation, which has no models.
        DataError: A file of weights or of a temperature is missing, damaged or not the one of this run.
    """
    if "evaluation" in run.metrics:
        of = run.metrics["evaluation"]["run"]
        raise UsageError(f"{run.folder} is an evaluation, which has no models of its own: pass its run, {of}")
    if final:
        return [_final_model(run, device)]
    numbers = run.config["run"].get("folds", [])
    if not numbers:
        raise UsageError(f"{run.folder} has no trained models: pass the folder that `fit` printed as its run")
    models = []
    for seed, folder in run.seed_folders.items():
        folds = {str(n): folder / f"fold_{n}" for n in numbers}
        if fold is not None and str(fold) not in folds:
            raise UnknownNameError("fold", str(fold), folds)
        for number, fold_folder in folds.items():
            if fold is None or number == str(fold):
                models.append(_load(run, fold_folder / WEIGHTS, seed, int(number), device))
    return models


def _final_model(run: Run, device: torch.device | str) -> TrainedModel:
    if "final" not in run.metrics:
        raise UsageError(
            f"{run.folder} has no final model, which is trained on all data: repeat its fit command with --final, "
            "which adds the model and repeats nothing"
        )
    return _load(run, run.folder / FINAL / WEIGHTS, run.metrics["final"]["seed"], None, device)


def _load(run: Run, path: Path, seed: int, fold: int | None, device: torch.device | str) -> TrainedModel:
    check_weights(run, path)
    model, recipe, statistics = model_file.load(path, device)
    selection = path.parent / SELECTION
    return TrainedModel(
        seed=seed,
        fold=fold,
        path=path,
        model=model,
        recipe=recipe,
        statistics=statistics,
        temperature=stored_temperature(path.parent),
        threshold=threshold_of(read_json(selection)) if selection.exists() else DEFAULT_THRESHOLD,
    )


def are_calibrated(models: Sequence[TrainedModel]) -> bool:
    """Whether the run has fitted temperatures to these models."""
    return any(model.temperature != 1 for model in models)


def mean_values(
    models: Iterable[TrainedModel], data: TaskData, indices: Indices, calibrated: bool = False
) -> NDArray[np.float64]:
    """The mean over models of `TrainedModel.values`.

    The mean of calibrated probabilities may predict another class than the mean of the models' own.
    """
    values: NDArray[np.float64] = np.mean([m.values(data, indices, calibrated) for m in models], axis=0)
    return values

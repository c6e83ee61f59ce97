"""The models of a run together: which of them are asked, and what they say of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.common.errors import DataError
from emofuse.predict.features.batch_features import BatchFeatures, UtteranceGroup
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.registry import variant
from emofuse.train.runs.finished_run import CONFIG, Run
from emofuse.train.runs.trained_models import TrainedModel, are_calibrated, trained_models

ModelValues = NDArray[np.float64]
"""[1, M, K], the values of one utterance by each of M models; for a calibrated run [2, M, K], the models' own and those
with the temperature of each model."""


class Ensemble:
    """The models of all folds and seeds of a run, or some of them.

    Args:
        run: A finished run.
        fold: Only the models of this fold.
        device: Where they compute.
        final: Only the model that was trained on all data.

    Raises:
        UsageError: The run has no such fold, or no final model.
        DataError: A file of the run is missing or damaged.
    """

    def __init__(self, run: Run, fold: int | None, device: str, *, final: bool = False) -> None:
        self.device = torch.device(device)
        self.spec = _spec(run)
        self.models: Sequence[TrainedModel] = trained_models(run, fold, self.device, final=final)
        recipe = self.models[0].recipe
        self.target = recipe.target
        self.threshold = float(np.mean([model.threshold for model in self.models]))
        """From which a label is predicted, where there are several: the mean over the models."""
        self.calibrated = are_calibrated(self.models)
        """Whether the run has fitted temperatures."""
        self.modalities = tuple(recipe.inputs.dimensions)
        """What the models were trained on, audio first."""
        for model in self.models:
            if _reads(model.recipe) != _reads(recipe):
                raise DataError(f"{model.path} has other classes or inputs than {self.models[0].path}: it was replaced")

    def may_lack(self, modalities: Sequence[str]) -> bool:
        """Whether the models can do without these modalities of theirs."""
        return set(modalities) <= set(self.spec.optional) and len(modalities) < len(self.modalities)

    def values(self, batch: BatchFeatures, ids: Sequence[str]) -> dict[str, ModelValues]:
        """What each model says of those of `ids` whose modalities suffice."""
        found: dict[str, ModelValues] = {}
        groups: dict[tuple[str, ...], list[str]] = {}
        for id in ids:
            available = tuple(m for m in batch.available(id) if m in self.modalities)
            if self.may_lack([m for m in self.modalities if m not in available]):
                groups.setdefault(available, []).append(id)
        for modalities, members in groups.items():
            group = UtteranceGroup(batch, members, modalities, self.spec.pool, self.device)
            indices = np.arange(len(members))
            by_model = [m.values(group.data_for(m), indices, self.calibrated) for m in self.models]
            found |= dict(zip(members, np.stack(by_model, axis=2).swapaxes(0, 1), strict=True))
        return found


def _reads(recipe: ModelRecipe) -> tuple[object, ...]:
    return recipe.classes, recipe.inputs, recipe.fronts


def _spec(run: Run) -> ModelSpec:
    record = run.config.get("run") if isinstance(run.config, dict) else None
    if not isinstance(record, dict) or not isinstance(record.get("model"), str):
        raise DataError(f"{run.folder / CONFIG} is damaged: it names no model")
    return variant(record["model"], record.get("ablation"))[2]

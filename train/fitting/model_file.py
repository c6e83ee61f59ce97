"""Trained weights in one safetensors file: parameters, standardisation statistics, and how the model is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError, EmofuseError
from emofuse.manifests.targets.target import Target, recorded_target, target_record
from emofuse.train.data.batches import Statistics
from emofuse.train.fitting.file_names import STATISTICS
from emofuse.train.models.base import FusionModel, Inputs
from emofuse.train.models.config import Config, recorded
from emofuse.train.models.criterion import criterion_of
from emofuse.train.models.front import Front, with_fronts
from emofuse.train.models.registry import MODELS

FORMAT = "emofuse-model-1"
PREFIX = STATISTICS
DEPTHS = ("layers", "rounds")
"""Endings of the names of settings that are a number of layers."""
DEPTH_MARGIN = 16
"""How many layers such a setting may have beyond the number of tensors in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe:
    """What builds a model: its registered name, its settings, its inputs, and the names of its outputs."""

    model: str
    settings: Config
    inputs: Inputs
    classes: tuple[str, ...]
    """The names of the outputs: of the classes, and of the dimensions that are rated."""
    fronts: Mapping[str, Front] = field(default_factory=dict)
    """Modality -> what is put in front of the model; its `inputs` are what comes out of it."""
    declared_target: Target | None = None
    """What is predicted, where that is not one class."""

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.declared_target or Target(classes=self.classes)

    def layers_of(self, modality: str) -> int:
        """Layers per frame of a modality's only feature as it is stored; 0 where it has no layer axis."""
        front = self.fronts.get(modality)
        return self.inputs.layers if front is None else front.parts[0][0]

    def build(self) -> FusionModel:
        """A fresh model, initialised from torch's global generator."""
        model = with_fronts(MODELS[self.model].build(self.settings, self.inputs), self.fronts)
        model.criterion = criterion_of(self.target, self.settings)
        return model


def save(path: Path, recipe: ModelRecipe, state: Mapping[str, Tensor], statistics: Statistics) -> None:
    """Write a checkpoint; the file appears complete or not at all."""
    tensor_file.write(path, with_statistics(state, statistics), {"format": FORMAT, **describe(recipe)})


def with_statistics(state: Mapping[str, Tensor], statistics: Statistics) -> dict[str, Tensor]:
    """All tensors of a file: parameters, and under `standardise.` the statistics."""
    tensors = dict(state)
    for modality, pair in statistics.items():
        tensors |= {f"{PREFIX}{modality}.{k}": t for k, t in zip(("mean", "scale"), pair, strict=True)}
    return tensors


def describe(recipe: ModelRecipe) -> dict[str, Any]:
    """A recipe, JSON-ready."""
    return {
        "model": recipe.model,
        "settings": recorded(recipe.settings),
        "inputs": asdict(recipe.inputs),
        "classes": list(recipe.classes),
        **({"fronts": {m: asdict(front) for m, front in recipe.fronts.items()}} if recipe.fronts else {}),
        **({"target": target_record(recipe.declared_target)} if recipe.declared_target else {}),
    }


def load(path: Path, device: torch.device | str = "cpu") -> tuple[FusionModel, ModelRecipe, Statistics]:
    """Read a checkpoint: the model in evaluation mode, its recipe, and the statistics that standardise its inputs.

    Raises:
        DataError: The file is damaged or is not a checkpoint.
    """
    try:
        tensors, about = tensor_file.read(path)
    except DataError as error:
        raise DataError(f"{path} is not a readable checkpoint: {error}") from None
    stored_format = about.get("format")
    if stored_format != FORMAT:
        raise DataError(f"{path} is not an emofuse checkpoint: its format is {stored_format!r}, expected {FORMAT!r}")
    model, recipe, statistics = rebuild(path, tensors, about)
    return model.to(device).eval(), recipe, {m: (a.to(device), b.to(device)) for m, (a, b) in statistics.items()}


def rebuild(
    path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> tuple[FusionModel, ModelRecipe, Statistics]:
    """A model from the untrusted content of a file: its tensors, and its recipe as `describe` gives it.

    Raises:
        DataError: They do not fit each other.
    """
    try:
        recipe = _recipe(about, tensors)
        weights = {name: t for name, t in tensors.items() if not name.startswith(PREFIX)}
        statistics = _statistics({name.removeprefix(PREFIX): tensors[name] for name in tensors.keys() - weights.keys()})
        model = recipe.build()
        model.load_state_dict(weights)
        return model, recipe, statistics
    except (EmofuseError, AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error)[:500]}"
        raise DataError(f"{path} is damaged or was changed: its model cannot be rebuilt ({reason})") from None


def _recipe(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ModelRecipe:
    """The recipe of an untrusted file: its model must have exactly the weights of the file, so it cannot be larger."""
    spec = MODELS[str(about["model"])]
    settings, classes = dict(about["settings"]), tuple(about["classes"])
    for name, value in settings.items():
        if name.endswith(DEPTHS) and not 0 <= value <= len(tensors) + DEPTH_MARGIN:
            raise DataError(f"{name} is {value}, which does not match {len(tensors)} tensors")
    inputs = Inputs(**about["inputs"])
    if len(classes) != inputs.classes or not all(isinstance(c, str) for c in classes):
        raise DataError(f"{len(classes)} class names for {inputs.classes} outputs")
    target = recorded_target(about["target"], classes) if "target" in about else None
    if target and target.output_names != classes:
        raise DataError("its target has other outputs than its classes")
    recipe = ModelRecipe(
        model=str(about["model"]),
        settings=type(spec.preset(""))(**settings),
        inputs=inputs,
        classes=classes,
        fronts={str(m): _front(front) for m, front in dict(about.get("fronts", {})).items()},
        declared_target=target,
    )
    with torch.device("meta"):  # takes no memory
        expected = {name: t.shape for name, t in recipe.build().state_dict().items()}
    stored = {name: t.shape for name, t in tensors.items() if not name.startswith(PREFIX)}
    for name in sorted(expected.keys() | stored.keys()):
        if expected.get(name) != stored.get(name):
            got, wanted = (list(s[name]) if name in s else "none" for s in (stored, expected))
            raise DataError(f"weight {name[:100]!r} has shape {got}, expected {wanted} by its settings")
    return recipe


def _front(about: Mapping[str, Any]) -> Front:
    parts = tuple((int(layers), int(dimension)) for layers, dimension in about["parts"])
    if not parts or any(layers < 0 or dimension < 1 for layers, dimension in parts):
        raise DataError(f"its front has parts {list(parts)}, expected layers and dimensions of each feature")
    return Front(parts=parts, gated=bool(about["gated"]))


def _statistics(tensors: Mapping[str, Tensor]) -> Statistics:
    """Modality -> mean and scale."""
    modalities = sorted({name.split(".")[0] for name in tensors})
    statistics = {m: (tensors[f"{m}.mean"], tensors[f"{m}.scale"]) for m in modalities}
    if not set(statistics) <= {"audio", "text"} or len(tensors) != 2 * len(statistics):
        raise DataError(f"it has statistics of {', '.join(map(repr, modalities))}, expected of audio and text alone")
    return statistics

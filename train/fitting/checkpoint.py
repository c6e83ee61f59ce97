"""Trained weights in one safetensors file: parameters, standardisation statistics, and how to build the model again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError, EmofuseError
from emofuse.train.data.batches import Statistics
from emofuse.train.models.base import FusionModel, Inputs
from emofuse.train.models.config import Config
from emofuse.train.models.registry import MODELS

FORMAT = "emofuse-model-1"
PREFIX = "standardise."
DEPTHS, LAYERS = ("layers", "rounds"), 16
"""Settings that say how many layers are built, and how many there may be beside those that the weights show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe:
    """What builds a model: its registered name, its settings, its inputs, and the words for its classes."""

    model: str
    settings: Config
    inputs: Inputs
    classes: tuple[str, ...]

    def build(self) -> FusionModel:
        """A fresh model, initialised from torch's global generator."""
        return MODELS[self.model].build(self.settings, self.inputs)


def save(path: Path, recipe: ModelRecipe, state: Mapping[str, Tensor], statistics: Statistics) -> None:
    """Write a checkpoint; the file appears whole or not at all."""
    tensors = dict(state)
    for modality, pair in statistics.items():
        tensors |= {f"{PREFIX}{modality}.{k}": t for k, t in zip(("mean", "scale"), pair, strict=True)}
    about = {
        "format": FORMAT,
        "model": recipe.model,
        "settings": asdict(recipe.settings),
        "inputs": asdict(recipe.inputs),
        "classes": recipe.classes,
    }
    tensor_file.write(path, tensors, about)


def load(path: Path, device: torch.device | str = "cpu") -> tuple[FusionModel, ModelRecipe, Statistics]:
    """Read a checkpoint.

    Raises:
        DataError: The file is damaged or holds something else.
    """
    try:
        tensors, about = tensor_file.read(path)
    except DataError as error:
        raise DataError(f"{path} is no readable checkpoint: {error}") from None
    found = about.get("format")
    if found != FORMAT:
        raise DataError(f"{path} is no emofuse checkpoint: its format is {found!r}, expected {FORMAT!r}")
    try:
        recipe = _recipe(about, tensors)
        weights = {name: t for name, t in tensors.items() if not name.startswith(PREFIX)}
        statistics = _statistics({name.removeprefix(PREFIX): tensors[name] for name in tensors.keys() - weights.keys()})
        model = recipe.build()
        model.load_state_dict(weights)
    except (EmofuseError, AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        told = f"{type(error).__name__}: {str(error)[:500]}"
        raise DataError(f"{path} is damaged or was changed: its model cannot be built again ({told})") from None
    return model.to(device).eval(), recipe, {m: (a.to(device), b.to(device)) for m, (a, b) in statistics.items()}


def _recipe(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ModelRecipe:
    """The recipe of a file that may come from anybody: what it builds is no larger than the weights beside it."""
    spec = MODELS[str(about["model"])]
    settings, classes = dict(about["settings"]), tuple(about["classes"])
    for name, value in settings.items():
        if name.endswith(DEPTHS) and not 0 <= value <= len(tensors) + LAYERS:
            raise DataError(f"{name} is {value}, which {len(tensors)} tensors cannot be")
    inputs = Inputs(**about["inputs"])
    if len(classes) != inputs.classes or not all(isinstance(c, str) for c in classes):
        raise DataError(f"{len(classes)} classes are named for {inputs.classes} outputs")
    recipe = ModelRecipe(
        model=str(about["model"]), settings=type(spec.preset(""))(**settings), inputs=inputs, classes=classes
    )
    with torch.device("meta"):  # takes no memory
        expected = {name: t.shape for name, t in recipe.build().state_dict().items()}
    held = {name: t.shape for name, t in tensors.items() if not name.startswith(PREFIX)}
    for name in sorted(expected.keys() | held.keys()):
        if expected.get(name) != held.get(name):
            there, wanted = (list(s[name]) if name in s else "none" for s in (held, expected))
            raise DataError(f"weight {name[:100]!r} has shape {there}, its settings ask for {wanted}")
    return recipe


def _statistics(tensors: Mapping[str, Tensor]) -> Statistics:
    modalities = sorted({name.split(".")[0] for name in tensors})
    found = {m: (tensors[f"{m}.mean"], tensors[f"{m}.scale"]) for m in modalities}
    if not set(found) <= {"audio", "text"} or len(tensors) != 2 * len(found):
        raise DataError(f"it has statistics of {', '.join(map(repr, modalities))}")
    return found

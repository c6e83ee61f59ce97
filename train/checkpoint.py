"""Trained weights in one safetensors file: parameters, standardisation statistics, and how to build the model again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from emofuse.common.errors import DataError
from emofuse.common.files import put
from emofuse.train.data import Statistics
from emofuse.train.models.base import FusionModel, Inputs
from emofuse.train.models.config import Config
from emofuse.train.models.registry import MODELS

FORMAT = "emofuse-model-1"
PREFIX = "standardise."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What builds a model: its registered name, its settings, its inputs, and the words for its classes."""

    model: str
    settings: Config
    inputs: Inputs
    classes: tuple[str, ...]

    def build(self) -> FusionModel:
        """A fresh model, initialised from torch's global generator."""
        return MODELS[self.model].build(self.settings, self.inputs)


def save(path: Path, recipe: Recipe, state: Mapping[str, Tensor], statistics: Statistics) -> None:
    """Write a checkpoint; the file appears whole or not at all."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in state.items()}
    for modality, pair in statistics.items():
        tensors |= {f"{PREFIX}{modality}.{k}": t.cpu() for k, t in zip(("mean", "scale"), pair, strict=True)}
    about = {
        "format": FORMAT,
        "model": recipe.model,
        "settings": asdict(recipe.settings),
        "inputs": asdict(recipe.inputs),
        "classes": recipe.classes,
    }
    # One key: safetensors writes several in an order of chance, and equal runs shall give equal files.
    # Bytes, not save_file: that one makes files that only their owner can read, and a lab shares its runs.
    put(path, to_bytes(tensors, {"emofuse": json.dumps(about)}))


def load(path: Path, device: torch.device | str = "cpu") -> tuple[FusionModel, Recipe, Statistics]:
    """Read a checkpoint.

    Raises:
        DataError: The file is damaged or holds something else.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get("emofuse", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is no readable checkpoint: {error}") from None
    if about.get("format") != FORMAT:
        raise DataError(f"{path} is no emofuse checkpoint: its format is {about.get('format')!r}, expected {FORMAT!r}")
    spec = MODELS[about["model"]]
    recipe = Recipe(
        model=about["model"],
        settings=type(spec.preset(""))(**about["settings"]),
        inputs=Inputs(**about["inputs"]),
        classes=tuple(about["classes"]),
    )
    modalities = sorted({name.split(".")[1] for name in tensors if name.startswith(PREFIX)})
    statistics = {m: (tensors[f"{PREFIX}{m}.mean"], tensors[f"{PREFIX}{m}.scale"]) for m in modalities}
    model = recipe.build().to(device)
    model.load_state_dict({name: t for name, t in tensors.items() if not name.startswith(PREFIX)})
    return model.eval(), recipe, statistics

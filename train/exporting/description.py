"""What is written into an exported file, and beside it as model.json: everything that a consumer must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.manifests.licences import licence_of
from emofuse.train.exporting.exported_model import ExportedModel
from emofuse.train.fitting import model_file
from emofuse.train.resolve.fit_plan import package_versions
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.trained_models import TrainedModel

FORMAT = "emofuse-export-1"
PREPROCESSING = (
    "Inputs are features as `emofuse extract` writes them with the encoders and settings under `features`, in float32. "
    "The padding of a batch may hold anything. Cutting to the longest length, pooling over time and standardisation "
    "are inside the model."
)


def describe(run: Run, models: Sequence[TrainedModel], exported: ExportedModel) -> dict[str, Any]:
    """The description of an exported model, JSON-ready."""
    identity, recipe = run.config["run"], models[0].recipe
    features = identity["features"]
    return {
        "format": FORMAT,
        "run": run.folder.resolve().name,
        "model": run.metrics["model"],
        "protocol": run.metrics["protocol"],
        "classes": list(recipe.classes),
        "inputs": [
            about
            for modality in recipe.inputs.dimensions
            for about in _inputs(modality, features[modality], recipe.layers_of(modality))
        ],
        "outputs": [
            {"name": name, "shape": ["batch", len(recipe.classes)], "dtype": "float32"} for name in exported.outputs
        ],
        "features": {m: features[m] for m in recipe.inputs.dimensions},
        "preprocessing": PREPROCESSING,
        "models": [
            {"seed": m.seed, "fold": m.fold, "temperature": temperature}
            for m, temperature in zip(models, exported.temperatures, strict=True)
        ],
        "recipe": model_file.describe(recipe),
        "caveats": caveats(run.metrics),
        "licences": {corpus: licence_of(corpus).terms for corpus in run.corpora},
        "versions": package_versions(),
    }


def _inputs(modality: str, feature: Mapping[str, Any], layers: int) -> list[dict[str, Any]]:
    """The two inputs of a modality: its features and their lengths."""
    time = "frames" if modality == "audio" else "words"
    shape = ["batch", time, *([layers] if layers else []), feature["dimension"]]
    return [
        {"name": modality, "shape": shape, "dtype": "float32"},
        {"name": f"{modality}_lengths", "shape": ["batch"], "dtype": "int64"},
    ]

"""The batches on which an exported file is checked: real features of the run's store, or random ones of their size."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emofuse.common.errors import EmofuseError, UsageError
from emofuse.common.location import parse_location
from emofuse.manifests.schema import Manifest, Modality, Utterance
from emofuse.store import Feature, FeatureData, FeatureStore, write_store
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices, RaggedModality
from emofuse.train.data.read_modality import read_modality
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.config import longest_input
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_store import available_features, stored_features
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.recorded_features import per_fold_names

SIZES = (4, 1, 8)
"""Utterances of the three batches: the shortest ones, the one of median length, and some of all lengths."""
REAL, RANDOM = "features of the run's store", "random features (the run's store was not at hand)"
RANDOM_LENGTHS = {"audio": (3, 240), "text": (1, 40)}
"""The shortest and the longest random utterance, frames or words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckBatches:
    """A few utterances, as the store has them and as the trained models read them."""

    source: str
    """Where the features are from, for the report."""
    kind: str
    """The same without any path, for files that others read."""
    stored: TaskData
    """All frames, not standardised."""
    loaded: TaskData
    """Cut and pooled as for training."""
    batches: tuple[Indices, ...]
    """Three batches of different size and length."""

    def inputs(self, batch: Indices) -> list[Tensor]:
        """The inputs of an exported model."""
        return [x for x in self.stored.with_statistics({}).batch(batch).inputs if x is not None]


def check_batches(run: Run, recipe: ModelRecipe) -> CheckBatches:
    """The batches for a run's models: of the first of its stores that can be read and has the run's features."""
    recorded, reasons = run.config["run"]["features"], []
    for location in run.config.get("stores", {}).values():
        try:
            with FeatureStore(parse_location(location)) as store:
                return _read(f"features of {location}", REAL, _recorded_features(store, recorded), recipe)
        except (EmofuseError, OSError) as error:
            reasons.append(re.split(r"[;\n]", str(error), maxsplit=1)[0])
    reason = reasons[0] if reasons else "config.json names no store"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.h5"
        _write_random(path, recorded, recipe)
        with FeatureStore(path) as store:
            return _read(f"random features ({reason})", RANDOM, dict(store.features), recipe)


def _recorded_features(store: FeatureStore, recorded: Mapping[str, Any]) -> dict[str, Feature]:
    """Modality -> the feature that the run was fitted on; of a per-fold feature, that of the first fold.

    Raises:
        UsageError: The store does not have it, or has another one of that name.
    """
    found = {}
    for modality, about in recorded.items():
        features = available_features(store)
        feature = features.get(about["name"])
        if feature is None:
            raise UsageError(f"{store.path} has no feature {about['name']!r} any more")
        first = stored_features(store, feature)[0]
        expected = about["fingerprint"].get(first.name) if per_fold_names(about) else about["fingerprint"]
        if dict(first.fingerprint) != expected:
            raise UsageError(f"feature {about['name']!r} of {store.path} was extracted again with other settings")
        found[modality] = first
    return found


def _read(source: str, kind: str, features: Mapping[str, Feature], recipe: ModelRecipe) -> CheckBatches:
    """Read the utterances of three batches.

    Raises:
        DataError: Their values are damaged.
        UsageError: No utterance has all features.
    """
    chosen, batches = _choose(features)
    cpu, pool = torch.device("cpu"), MODELS[recipe.model].pool
    stored = {m: RaggedModality.load(f, chosen, cpu) for m, f in features.items()}
    loaded = {
        m: read_modality(
            CombinedFeature([f]) if m in recipe.fronts else f, chosen, cpu, longest_input(recipe.settings, m), pool
        )
        for m, f in features.items()
    }
    labels = torch.zeros(len(chosen), dtype=torch.int64)
    return CheckBatches(
        source=source,
        kind=kind,
        stored=TaskData(modalities=stored, labels=labels),
        loaded=TaskData(modalities=loaded, labels=labels),
        batches=batches,
    )


def _choose(features: Mapping[str, Feature]) -> tuple[list[str], tuple[Indices, ...]]:
    """Ids of utterances that have all features, by length, and which of them form each batch."""
    usable = [
        {id for id, mark in zip(f.ids, f.marks().tolist(), strict=True) if mark} - set(f.stale)
        for f in features.values()
    ]
    first = next(iter(features.values()))
    ids = sorted(set.intersection(*usable), key=lambda id: (first.lengths[first.position[id]], id))
    if not ids:
        raise UsageError(f"no utterance of {first.path} has all features")
    last = len(ids) - 1
    picks = [range(min(SIZES[0], len(ids))), [last // 2], np.linspace(0, last, SIZES[2]).round().astype(int).tolist()]
    chosen = sorted({i for pick in picks for i in pick})
    place = {i: n for n, i in enumerate(chosen)}
    return [ids[i] for i in chosen], tuple(np.array([place[i] for i in pick], np.int64) for pick in picks)


def _write_random(path: Path, recorded: Mapping[Modality, Any], recipe: ModelRecipe) -> None:
    """A store with a random feature for each modality, of utterances of many lengths."""
    generator = np.random.default_rng(0)
    utterances = tuple(Utterance(id=f"u{i:02d}", audio=f"u{i:02d}.wav", text=f"text {i}") for i in range(sum(SIZES)))
    features: dict[str, FeatureData] = {}
    for modality, about in recorded.items():
        layers = recipe.layers_of(modality)
        lengths = np.linspace(*RANDOM_LENGTHS[modality], len(utterances)).astype(int)
        shapes = [(length, *([layers] if layers else []), about["dimension"]) for length in lengths]
        arrays = {u.id: generator.standard_normal(shape) for u, shape in zip(utterances, shapes, strict=True)}
        features[modality] = FeatureData(modality=modality, arrays=arrays, layers=tuple(range(layers)), dtype="float32")
    write_store(path, Manifest(corpus="random", reader="random-1", utterances=utterances), features)

"""The features of a run in another store: those with the same fingerprint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.nested import flatten
from emofuse.common.problems import Problems
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import plain_features
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.extract_commands import command_that_made, extract_command
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.recorded_features import per_fold_names

DIFFERENCES_SHOWN = 8


def match_features(run: Run, store: FeatureStore, recipe: ModelRecipe) -> dict[str, Feature | CombinedFeature]:
    """Modality -> the feature of a store that was extracted as the run's was.

    Args:
        run: Its config.json records the features.
        store: The other store.
        recipe: Of the run's models.

    Raises:
        UsageError: A feature is missing, incomplete or was extracted with other settings, or the run has a separate
            feature for each fold; lists all.
    """
    problems, found = Problems(), dict[str, Feature | CombinedFeature]()
    for modality, record in run.config["run"]["features"].items():
        front = recipe.fronts.get(modality)
        layers = [recipe.inputs.layers] if front is None else [of_part for of_part, _ in front.parts]
        members = []
        for one, of_one in zip(record.get("members", [record]), layers, strict=True):
            with problems.collecting():
                members.append(_match(run, modality, one, store, of_one))
        if len(members) == len(layers):
            found[modality] = members[0] if front is None else CombinedFeature(members)
    problems.raise_all()
    return found


def _match(run: Run, modality: str, record: Mapping[str, Any], store: FeatureStore, layers: int) -> Feature:
    name, wanted = record["name"], _settings(record["encoder"], record["dimension"], layers, record["fingerprint"])
    if per_fold_names(record):
        raise UsageError(
            f"{modality} feature {name!r} of {run.folder} is a separate feature for each fold, whose encoders were "
            "fine-tuned on the other folds: a run of such features cannot be evaluated on another store"
        )
    candidates = [f for f in plain_features(store.features).values() if f.modality == modality]
    candidates.sort(key=lambda f: (f.name != name, f.encoder != record["encoder"]))
    equal = [f for f in candidates if _settings_of(f) == wanted and (record["fingerprint"] or f.name == name)]
    if equal and not equal[0].complete:
        command = command_that_made(store, equal[0])
        raise UsageError(
            f"feature {equal[0].name!r} of {store.path} is incomplete; the same command finishes it: {command}"
        )
    if equal:
        return equal[0]
    closest = (
        f"its {candidates[0].name!r} differs: {_differences(wanted, candidates[0])}" if candidates else "it has none"
    )
    raise UsageError(
        f"{store.path} has no {modality} feature that was extracted as {name!r} of the run was; {closest}\n"
        f"    extract it with the run's settings: {_command(run, modality, record, store)}"
    )


def equal_feature(store: FeatureStore, feature: Feature) -> Feature | None:
    """The feature of another store with the settings of this one, if possible with its name; None without one."""
    equal = [f for f in plain_features(store.features).values() if f.modality == feature.modality]
    equal = [f for f in equal if _settings_of(f) == _settings_of(feature)]
    return min(equal, key=lambda f: f.name != feature.name, default=None)


def _settings(encoder: str, dimension: int, layers: int, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that must be equal, as JSON gives it."""
    flat: dict[str, Any] = json.loads(json.dumps(flatten(fingerprint)))
    return {"encoder": encoder, "dimension": dimension, "layers per frame": layers, **flat}


def _settings_of(feature: Feature) -> dict[str, Any]:
    return _settings(feature.encoder, feature.dimension, len(feature.layers), feature.fingerprint)


def _differences(wanted: Mapping[str, Any], feature: Feature) -> str:
    has = _settings_of(feature)
    keys = [key for key in sorted({*wanted, *has}) if wanted.get(key) != has.get(key)]
    shown = [f"{key} {json.dumps(has.get(key))}, the run {json.dumps(wanted.get(key))}" for key in keys]
    return "; ".join(shown[:DIFFERENCES_SHOWN]) + ("; ..." if len(shown) > DIFFERENCES_SHOWN else "")


def _command(run: Run, modality: str, record: Mapping[str, Any], store: FeatureStore) -> str:
    """The `extract` command for a feature of the run, with the encoder's options that the run recorded."""
    recorded = run.config.get("provenance", {}).get(modality, {})
    if isinstance(recorded, Mapping) and "members" in run.config["run"]["features"][modality]:
        recorded = recorded.get(record["name"], {})
    options = recorded.get("encoder_options") if isinstance(recorded, Mapping) else None
    return extract_command(store, record["encoder"], extra=[str(option) for option in options or []])

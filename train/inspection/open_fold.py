"""A fold of a finished run opened again: its model, and the features of some of its test utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emofuse.common.errors import UsageError
from emofuse.common.location import Location, parse_location
from emofuse.common.output.console import plural
from emofuse.common.problems import Problems
from emofuse.manifests.names.joint import corpus_of
from emofuse.store import Feature, FeatureStore
from emofuse.train.data.batches import TaskData
from emofuse.train.data.read_modality import Readable, modality_bytes, read_modality
from emofuse.train.inspection.predicted_fold import Predicted, PredictedFold
from emofuse.train.inspection.weight_hooks import Observed, WeightHook, observe
from emofuse.train.models.config import longest_input
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.dialogues import CONTEXT
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.speakers import BY_SPEAKER
from emofuse.train.runs.recorded_features import per_fold_names
from emofuse.train.runs.trained_models import TrainedModel, trained_models

TOLERANCE = 0.01
"""How far a probability may be from the recorded one: another device or another number of threads gives far less."""
MOST_BYTES = 1_000_000_000
"""Of features in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFold:
    """Some test utterances of a fold with the features and the model that predicted them."""

    tested: tuple[Predicted, ...]
    """[n]"""
    model: TrainedModel
    data: TaskData
    """Of the utterances, in their order."""
    stored_lengths: Mapping[str, Sequence[int]]
    """Modality -> frames in the store [n]; the model may read fewer."""
    frame_rate: float | None
    """Of the audio, per second; None without audio."""
    layers: Mapping[str, Sequence[tuple[str, Sequence[int]]]]
    """Modality -> name and encoder layers of each of its features; without layers where there is no such axis."""

    def observe(self, hooks: Sequence[WeightHook], chosen: Sequence[int] | None = None) -> Observed:
        """What the model gives for the utterances, or for the chosen ones among them."""
        indices = np.arange(len(self.tested)) if chosen is None else np.array(chosen, np.int64)
        return observe(self.model.model, self.data, indices, hooks)


def open_fold(side: PredictedFold, chosen: Sequence[int]) -> OpenFold:
    """Load the model of a fold and the features of the chosen ones of its test utterances.

    Raises:
        UsageError: Their store is not there, does not have the run's features any more, or has other values.
        DataError: A store or the weights are damaged.
    """
    (model,) = [m for m in trained_models(side.run, side.fold) if m.seed == side.seed]
    tested = tuple(side.tested[i] for i in chosen)
    ids = [t.id for t in tested]
    pool, settings = MODELS[model.recipe.model].pool, model.recipe.settings
    with ExitStack() as stack:
        features = _features(side, ids, stack)
        modalities = {
            m: read_modality(f, ids, torch.device("cpu"), longest_input(settings, m), pool) for m, f in features.items()
        }
        lengths = {m: [int(f.lengths[f.position[id]]) for id in ids] for m, f in features.items()}
    labels = torch.tensor([side.classes.index(t.label) for t in tested])
    data = TaskData(modalities=modalities, labels=labels, statistics=model.statistics)
    audio = features.get("audio")
    return OpenFold(
        tested=tested,
        model=model,
        data=data,
        stored_lengths=lengths,
        frame_rate=None if audio is None else audio.frame_rate,
        layers={
            m: [(one.name, one.layers) for one in (f.members if isinstance(f, CombinedFeature) else (f,))]
            for m, f in features.items()
        },
    )


def utterances_that_fit(side: PredictedFold, most_bytes: int = MOST_BYTES) -> int:
    """How many test utterances of a fold have features of at most so many bytes in memory, by their mean; at least 1.

    Raises:
        UsageError, DataError: As `open_fold`.
    """
    (model,) = [m for m in trained_models(side.run, side.fold) if m.seed == side.seed]
    if MODELS[model.recipe.model].pool != "frames":
        return len(side.tested)  # a vector of each
    total, ids = 0, [t.id for t in side.tested]
    with ExitStack() as stack:
        for modality, feature in _features(side, ids, stack).items():
            total += modality_bytes(feature, ids, longest_input(model.recipe.settings, modality), "frames")
    return len(ids) if total <= most_bytes else max(1, len(ids) * most_bytes // total)


def check_recorded(fold: OpenFold, observed: Observed) -> None:
    """Compare what the model gives now with what the run recorded.

    Raises:
        UsageError: They differ, so the values in the store are not those that the run tested.
    """
    recorded = np.array([t.probabilities for t in fold.tested])
    other = np.abs(observed.probabilities[:, : recorded.shape[1]] - recorded).max(1) > TOLERANCE
    if other.any():
        raise UsageError(
            f"the model gives other probabilities than the run recorded for {plural(int(other.sum()), 'utterance')} of "
            f"{len(other)}: the values in the store are not those that it tested; fit again on the store as it is now"
        )


def _features(side: PredictedFold, ids: Sequence[str], stack: ExitStack) -> dict[str, Readable]:
    """Modality -> the feature of the fold, in the open stores that hold the utterances.

    Raises:
        UsageError: Lists the stores that cannot be read, and the features that changed.
    """
    problems, run = Problems(), side.run
    if set(run.config["run"].get("shuffle", ())) & {"audio", "text"}:
        raise UsageError("in a sanity run the features of the test side are dealt to other utterances")
    if CONTEXT in run.metrics:
        raise UsageError("the model reads whole dialogues, and only some of their utterances are read here")
    if BY_SPEAKER in run.metrics:
        raise UsageError("the run standardises each speaker by all clips of his own, and only some are read here")
    paths, task = run.config.get("stores", {}), run.config["run"]
    is_joint = bool(task.get("protocol", {}).get("joint"))
    needed = {corpus_of(id) for id in ids} if is_joint else set(paths) or {task["corpus"]}
    stores: dict[str, FeatureStore] = {}
    for corpus in sorted(needed):
        with problems.collecting():
            stores[corpus] = stack.enter_context(_opened(corpus, paths))
    problems.raise_all()
    found: dict[str, Readable] = {}
    for modality, record in task["features"].items():
        parts: list[Feature | JoinedFeature] = []
        for one in record.get("members", [record]):
            members: dict[str, Feature] = {}
            for corpus, store in stores.items():
                with problems.collecting():
                    members[corpus] = _feature(store, one, side)
            if members:
                parts.append(JoinedFeature(members) if is_joint else next(iter(members.values())))
        weighted = "layers" in task and any(part.layers for part in parts)
        if parts:
            found[modality] = CombinedFeature(parts) if weighted or "members" in record else parts[0]
    problems.raise_all()
    missing = {id for id in ids for feature in found.values() if id not in feature.position}
    if missing:
        raise UsageError(f"the store has no values of {plural(len(missing), 'tested utterance')} any more")
    return found


def _opened(corpus: str, paths: Mapping[str, Location | str]) -> FeatureStore:
    if corpus not in paths:
        raise UsageError(f"no store of {corpus} is at hand: say where it is with --store")
    location = parse_location(paths[corpus])
    if isinstance(location, Path) and not location.is_file():
        raise UsageError(f"the store {location} is not there: put it back, or say where it is now with --store")
    return FeatureStore(location)


def _feature(store: FeatureStore, record: Mapping[str, Any], side: PredictedFold) -> Feature:
    per_fold = per_fold_names(record)
    name = per_fold[side.run.config["run"]["folds"].index(side.fold)] if per_fold else record["name"]
    feature = store.features.get(name)
    if feature is None:
        raise UsageError(f"{store.path} has no feature {name!r} any more")
    if dict(feature.fingerprint) != (record["fingerprint"][name] if per_fold else record["fingerprint"]):
        raise UsageError(f"feature {name!r} of {store.path} was extracted again with other settings")
    return feature

"""Selects the augmented copies (`extract --augment`) that the training sides use, and refuses copies anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import copies_of, count_copies, settings_without_copy
from emofuse.store.core.spec import fingerprint_differences
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.extract_commands import command_that_made
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.features.joined_store import AnyFeature, AnyStore, JoinedStore
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature


def select_copies(
    store: AnyStore, features: Mapping[str, AnyFeature], augmented: int | Literal["all"] | None
) -> tuple[AnyFeature, ...]:
    """The copies 1, 2, ... of a model's audio feature, from training stores alone; empty without `--augmented`.

    Args:
        store: One store, or joined ones.
        features: The model's features by modality.
        augmented: How many copies of each utterance, or all that there are.

    Raises:
        UsageError: There are no copies, or fewer than asked for, or they are incomplete or of other settings.
    """
    if augmented is None:
        return ()
    feature = features.get("audio")
    if feature is None:
        names = " and ".join(repr(f.name) for f in features.values())
        raise UsageError(f"--augmented has no effect: augmented copies are of audio, and the model uses {names} only")
    members = _members(store, feature)
    found = {key: copies_of(opened.features, own.name) for key, (opened, own) in members.items()}
    _require_enough(members, found, augmented)
    count = min(map(len, found.values())) if augmented == "all" else augmented
    problems = Problems()
    for key, (opened, own) in members.items():
        for copy in found[key][:count]:
            with problems.collecting():
                _require_usable(opened, own, copy)
    problems.raise_all()
    by_number = [{key: copies[k] for key, copies in found.items()} for k in range(count)]
    return tuple(_as_one(feature, copies) for copies in by_number)


def _members(store: AnyStore, feature: AnyFeature) -> dict[str, tuple[FeatureStore, Feature]]:
    """The stored features that `feature` consists of, with their stores; without that of a store for testing only."""
    if isinstance(feature, JoinedFeature):
        assert isinstance(store, JoinedStore)
        return {s.corpus: (s, feature.members[s.corpus]) for option, s in store.options if option == "--store"}
    assert isinstance(store, FeatureStore)
    assert not isinstance(feature, CombinedFeature)  # `make_plan` refuses it
    stored = feature.fold_features if isinstance(feature, PerFoldFeature) else (feature,)
    return {f.name: (store, f) for f in stored}


def _require_enough(
    members: Mapping[str, tuple[FeatureStore, Feature]],
    found: Mapping[str, Sequence[Feature]],
    augmented: int | Literal["all"],
) -> None:
    needed = 1 if augmented == "all" else augmented
    lines = []
    for key, (store, feature) in members.items():
        if len(found[key]) < needed:
            has = count_copies(len(found[key]))
            add = f"{command_that_made(store, feature)} --augment noise,reverb,speed,gain --copies {needed}"
            lines.append(f"{store.path} has {has} of {feature.name!r}, --augmented needs {needed}; add them: {add}")
    if lines:
        raise UsageError("\n".join(lines))


def _require_usable(store: FeatureStore, feature: Feature, copy: Feature) -> None:
    """Refuse a copy that is incomplete, or that the encoder made with other settings."""
    if not copy.complete:
        raise UsageError(
            f"feature {copy.name!r} of {store.path} is incomplete; the same command finishes it: "
            + command_that_made(store, copy)
        )
    differing = fingerprint_differences(settings_without_copy(copy.fingerprint), feature.fingerprint)
    if copy.spec.frame_shape != feature.spec.frame_shape:
        differing.append(f"frame: {copy.spec.frame_shape} and {feature.spec.frame_shape}")
    if differing:
        raise UsageError(
            f"feature {copy.name!r} of {store.path} was made with other settings than {feature.name!r}:\n    "
            + "\n    ".join(differing)
            + f"\n  Remove it (emofuse store rm {store.path} {copy.name}), and extract both with one command"
        )


def _as_one(feature: AnyFeature, copies: Mapping[str, Feature]) -> AnyFeature:
    """One copy of `feature`, from that of each of its members."""
    if isinstance(feature, JoinedFeature):
        return JoinedFeature(copies)
    if isinstance(feature, PerFoldFeature):
        return PerFoldFeature(feature.name, tuple(copies.values()))
    return next(iter(copies.values()))

"""Merges stores of one corpus: shards of a feature, or what two people extracted; values are copied as raw bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from emofuse.common.disk.files import resolve_link
from emofuse.common.errors import DataError, SeveralProblemsError, UsageError
from emofuse.common.location import Location
from emofuse.common.output.console import plural, printable
from emofuse.manifests.schema import Manifest
from emofuse.store.core.assemble import PATIENCE, Candidate, assemble, current_sources, find_feature_sources
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import describe_fitted_on
from emofuse.store.core.partial import replace_lock
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import fingerprint_differences
from emofuse.store.edit.merge_manifests import merge_manifests
from emofuse.store.edit.shard_completeness import (
    budget_conflicts,
    count_missing,
    is_incomplete,
    missing_shards,
    without_shard,
)

_SHOWN = 3
"""Utterances that a message names."""
_REFUSAL = "these stores cannot be merged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The result of a merge."""

    utterances: int
    features: dict[str, int]
    """Feature -> number of its utterances."""
    resolved: tuple[str, ...]
    """Conflicts that were resolved in favour of the first store."""
    missing_shards: dict[str, list[int]] = field(default_factory=dict)
    """Feature -> numbers of the shards (`extract --shard`) that are not among the stores."""
    missing_utterances: dict[str, int] = field(default_factory=dict)
    """Feature whose shards are all among the stores -> number of utterances that none of them has."""


def merge(target: Path, sources: Sequence[Location | str], *, prefer_first: bool = False) -> Merged:
    """Write a store with everything that the sources have.

    Where several have an utterance or a value, it must be the same; scan results of an audio file (digest, seconds)
    that only one has are kept.

    Args:
        target: A new file, or one of the sources, which is then replaced.
        sources: Stores of one corpus, read by one corpus reader; they may lie behind URLs.
        prefer_first: Where manifest rows or values differ, take those of the store that is named first. Features made
            with different settings, or fitted on different data, are never mixed.

    Raises:
        UsageError: Other corpora, or conflicts: all are named.
        DataError: A source is damaged, or the disk is full.
    """
    target = resolve_link(target)
    with replace_lock(target), ExitStack() as stack:
        own = [s for s in sources if isinstance(s, Path) and s.exists() and target.exists() and s.samefile(target)]
        if target.exists() and not own:
            raise UsageError(f"{target} already exists and is none of the stores to merge; delete it or name another")
        return _merge(target, [stack.enter_context(FeatureStore(s)) for s in sources], prefer_first)


def _merge(target: Path, stores: Sequence[FeatureStore], prefer_first: bool) -> Merged:
    by_name = _features_by_name(stores)
    manifest, conflicts = merge_manifests([s.manifest for s in stores])
    conflicts += [problem for same in by_name.values() for problem in _value_conflicts(same, manifest)]
    if conflicts and not prefer_first:
        conflicts += [problem for same in by_name.values() for problem in budget_conflicts(same)]
        raise SeveralProblemsError(f"{_REFUSAL}; --prefer-first takes what the store named first has:", conflicts)
    collected = [s for same in by_name.values() if (s := find_feature_sources(manifest, same))]
    shards, utterances = dict[str, list[int]](), dict[str, int]()
    for sources in collected:
        same = by_name[sources.spec.name]
        if is_incomplete(sources, manifest) and (numbers := missing_shards(same)):
            shards[sources.spec.name] = numbers
        elif count := count_missing(sources, manifest, same):
            utterances[sources.spec.name] = count
    if problems := [problem for name in utterances for problem in budget_conflicts(by_name[name])]:
        raise SeveralProblemsError(f"{_REFUSAL}, since utterances are missing in all of them:", problems)
    collected = [s if s.spec.name in shards else replace(s, spec=without_shard(s.spec)) for s in collected]
    assemble(target, manifest, collected)
    return Merged(
        utterances=len(manifest),
        features={s.spec.name: len(s.rows) for s in collected},
        resolved=tuple(conflicts),
        missing_shards=shards,
        missing_utterances=utterances,
    )


def merge_shards(target: Path, manifest: Manifest, names: Sequence[str], shards: Sequence[Path]) -> None:
    """Make the features `names`, whose utterances are in several shards, part of the store `target`.

    Values are copied as they are, and then read once to verify their checksums.

    Args:
        target: The store; may not exist yet, or have other features, or some utterances of these.
        manifest: The utterances that it should list afterwards, in addition to those it already lists.
        names: The features.
        shards: Stores that have them, made with the same settings.

    Raises:
        UsageError: A shard has a feature that was made with different settings.
        DataError: Values are damaged, or the disk is full; the shards are unchanged.
    """
    target = resolve_link(target)
    with replace_lock(target, wait=PATIENCE), ExitStack() as stack:
        older = stack.enter_context(FeatureStore(target)).require_intact() if target.exists() else None
        stores = [stack.enter_context(FeatureStore(s)).require_intact() for s in shards]
        by_name = {name: [s[name] for s in (*stores, *([older] if older else [])) if name in s] for name in names}
        if problems := [problem for same in by_name.values() for problem in _setting_conflicts(same)]:
            raise SeveralProblemsError("these shards do not belong together:", problems)
        merged = manifest.merged_into(older.manifest if older else None)
        others = [[f] for f in older.features.values() if f.name not in by_name] if older else []
        collected = [s for same in (*others, *by_name.values()) if same and (s := find_feature_sources(merged, same))]
        assemble(target, merged, collected)
    with FeatureStore(target) as store:
        damaged = {name: ids for name in names if name in store and (ids := store[name].damaged())}
    if damaged:
        listed = "; ".join(f"{name}: {plural(len(ids), 'utterance')}, {ids[0]} first" for name, ids in damaged.items())
        raise DataError(f"{target} has damaged values ({listed}): run the same command again, which encodes them again")


def _features_by_name(stores: Sequence[FeatureStore]) -> Mapping[str, list[Feature]]:
    """Name -> this feature of every store that has it.

    Raises:
        SeveralProblemsError: Stores of different corpora, or features made with different settings.
    """
    by_name: dict[str, list[Feature]] = {}
    for store in stores:
        for feature in store.require_intact().features.values():
            by_name.setdefault(feature.name, []).append(feature)
    problems = _corpus_conflicts(stores)
    problems += [problem for same in by_name.values() for problem in _setting_conflicts(same)]
    if problems:
        raise SeveralProblemsError(f"{_REFUSAL}:", problems)
    return by_name


def _corpus_conflicts(stores: Sequence[FeatureStore]) -> list[str]:
    first = stores[0]
    return [
        f"{s.path} was {what} {theirs!r}, {first.path} {what} {ours!r}"
        for s in stores[1:]
        for what, theirs, ours in (
            ("made for corpus", s.corpus, first.corpus),
            ("read by", s.manifest.reader, first.manifest.reader),
        )
        if theirs != ours
    ]


def _setting_conflicts(same: Sequence[Feature]) -> list[str]:
    """The settings that differ between the same feature of several stores."""
    return [
        f"feature {other.name!r} of {same[0].path} and {other.path}: {difference}"
        for other in same[1:]
        for difference in _differing_settings(same[0], other)
    ]


def _differing_settings(first: Feature, other: Feature) -> list[str]:
    keys = ("modality", "encoder", "dimension", "layers", "view", "frame_rate", "dtype")
    pairs = [(key, getattr(first.spec, key), getattr(other.spec, key)) for key in keys]
    differing = [f"{key}: {json.dumps(a)} and {json.dumps(b)}" for key, a, b in pairs if a != b]
    fitted_on = [f.provenance.get("fitted_on") for f in (first, other)]
    if fitted_on[0] != fitted_on[1]:
        differing.append(f"fitted on: {' and '.join(printable(describe_fitted_on(f), 300) for f in fitted_on)}")
    differing += fingerprint_differences(first.fingerprint, other.fingerprint)
    if first.scale is not None and other.scale is not None and (first.scale != other.scale).any():
        differing.append("scale: int8 with different scales; merge the features that they were made from")
    return differing


def _value_conflicts(same: Sequence[Feature], manifest: Manifest) -> list[str]:
    """Utterances with different values in two stores, computed from the current audio or text."""
    candidates: dict[str, list[Candidate]] = {}
    for feature in same:
        for i, (id, mark) in enumerate(zip(feature.ids, feature.marks().tolist(), strict=True)):
            if mark:
                candidates.setdefault(id, []).append((feature, i))
    differing: dict[str, list[str]] = {}
    for utterance in manifest.utterances:
        if len(candidates.get(utterance.id, ())) < 2:
            continue
        (first, position), *others = current_sources(candidates[utterance.id], utterance)
        for other, i in others:
            if other.marks()[i] != first.marks()[position]:
                differing.setdefault(f"{first.path} and {other.path}", []).append(utterance.id)
    return [
        f"feature {same[0].name!r} of {where}: different values for {plural(len(ids), 'utterance')}, "
        f"{', '.join(ids[:_SHOWN])} first"
        for where, ids in differing.items()
    ]

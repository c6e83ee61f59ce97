"""Rewrites a store with less, or more, in it; every operation ends in one rename, or changes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.files import resolve_link
from emofuse.common.errors import DataError, UsageError, raise_problems
from emofuse.manifests.schema import WITHDRAWN, Excluded, Manifest
from emofuse.store.core.assemble import FeatureSources, assemble, find_feature_sources
from emofuse.store.core.feature import Feature
from emofuse.store.core.partial import draft_path, partial_lock, partial_path, partials_and_drafts, replace_lock
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import TRANSCRIPTS_SUFFIX


def copy(
    source: FeatureStore,
    target: Path,
    features: Sequence[str] = (),
    dtype: str | None = None,
    *,
    no_text: bool = False,
) -> None:
    """Write a smaller store to share.

    Args:
        source: The store to copy from.
        target: A new file.
        features: The features to copy; empty means all.
        dtype: The type that the copy stores; None means that of the source. int8 has one scale per channel, by which
            the largest absolute value of all utterances is 127.
        no_text: Leave out the texts; each utterance keeps the digest of its text.

    Raises:
        UsageError: `target` exists, or the source has no such feature.
        DataError: Values to be converted are damaged, or the disk is full.
    """
    source.require_intact()
    chosen = [source[name] for name in features] or [*source.features.values()]
    manifest = source.manifest.without_text() if no_text else source.manifest
    with replace_lock(target):
        if target.exists():
            raise UsageError(f"{target} already exists; delete it or name another file")
        collected = [_with_dtype(f, dtype, s) for f in chosen if (s := find_feature_sources(manifest, [f]))]
        assemble(target, manifest, collected)


def remove_features(path: Path, names: Collection[str]) -> int:
    """Rewrite a store without some features.

    Returns:
        Bytes that this freed.

    Raises:
        UsageError: It has no such feature (all are named), or another process is writing it.
    """
    path = resolve_link(path)
    with replace_lock(path, existing=True), FeatureStore(path) as store:
        known = {*store.features, *store.damaged_features}
        missing = [_describe_missing(path, n) for n in names if n not in known]
        if missing:
            raise UsageError(f"no feature {', '.join(missing)} in {path}. Valid: {', '.join(sorted(known)) or 'none'}.")
        for name, error in store.damaged_features.items():
            if name not in names:
                raise error
        kept = [f for f in store.features.values() if f.name not in names]
        return rewrite_store(path, store.manifest, kept)


def _describe_missing(path: Path, name: str) -> str:
    partial = partial_path(path, name)
    hint = f" (an unfinished one is in {partial.name}, which can be deleted)" if partial.exists() else ""
    return f"{name!r}{hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What was removed."""

    utterances: int
    features: dict[str, int]
    """Feature, also an unfinished one -> how many of the utterances it had."""
    freed: int
    """Bytes."""


def remove_utterances(
    path: Path, ids: Collection[str], speakers: Collection[str] = (), *, keep_out: bool = False
) -> Withdrawn:
    """Rewrite a store, and the partial stores beside it, without some utterances: no file keeps anything of them.

    Args:
        path: The store.
        ids: Utterances to remove.
        speakers: Speakers all of whose utterances are removed (they withdrew their consent).
        keep_out: List the ids as excluded, so that no later `extract` adds them again. Without it not even the ids
            stay, and the clips must be deleted from the corpus folder too.

    Raises:
        UsageError: It knows no such utterance or speaker (all are named), or a process is writing the store or one of
            its partial stores.
        DataError: The store or a partial store cannot be read.
    """
    path = resolve_link(path)
    with ExitStack() as stack:
        stack.enter_context(replace_lock(path, existing=True))
        partials = partials_and_drafts(path)
        for partial in partials:
            stack.enter_context(partial_lock(partial))
        for whole in (path, *partials):  # what a killed writer left unfinished has the utterances too
            draft_path(whole).unlink(missing_ok=True)
        path.with_name(path.name + TRANSCRIPTS_SUFFIX).unlink(missing_ok=True)
        stores = _open_stores(path, [p for p in partials if p.exists()], stack)
        removed = _find_utterances(stores, ids, speakers)
        excluded = [Excluded(id=id, reason=WITHDRAWN) for id in removed if keep_out]
        features: dict[str, int] = {}
        freed = 0
        for store in stores:
            for feature in store.features.values():
                features[feature.name] = features.get(feature.name, 0) + len(set(removed) & set(feature.ids))
            manifest = _without_utterances(store.manifest, removed).excluding(excluded)
            file = store.path
            assert isinstance(file, Path)
            freed += rewrite_store(file, manifest, [*store.features.values()], partial=file != path)
        return Withdrawn(utterances=len(removed), features=features, freed=freed)


def _open_stores(path: Path, partials: Sequence[Path], stack: ExitStack) -> list[FeatureStore]:
    stores = [stack.enter_context(FeatureStore(path)).require_intact()]
    for partial in partials:
        try:
            stores.append(stack.enter_context(FeatureStore(partial)).require_intact())
        except DataError as error:
            raise DataError(f"{error}; it may have what is to be removed: delete it, then run this again") from None
    return stores


def _find_utterances(stores: Sequence[FeatureStore], ids: Collection[str], speakers: Collection[str]) -> list[str]:
    """The utterances that are named, or are a named speaker's, in a store or one of its partial stores."""
    known: dict[str, str | None] = {u.id: u.speaker for s in stores for u in s.manifest.utterances}
    excluded = {e.id for s in stores for e in s.manifest.excluded}
    problems = []
    for id in ids:
        if id not in known and id not in excluded:
            near = difflib.get_close_matches(id, known, n=3, cutoff=0.3)
            problems.append(f"no utterance {id!r} among {len(known)}" + (f"; near: {', '.join(near)}" if near else ""))
    known_speakers = sorted({s for s in known.values() if s is not None})
    problems += [
        f"no speaker {s!r}; there are {', '.join(known_speakers)}" for s in speakers if s not in known_speakers
    ]
    raise_problems(problems, f"{stores[0].path} cannot lose what it does not have")
    return list(dict.fromkeys([*ids, *(id for id, speaker in known.items() if speaker in speakers)]))


def _without_utterances(manifest: Manifest, ids: Collection[str]) -> Manifest:
    """A manifest without utterances, which leave its list of excluded ones too."""
    return replace(
        manifest,
        utterances=tuple(u for u in manifest.utterances if u.id not in ids),
        excluded=tuple(e for e in manifest.excluded if e.id not in ids),
    )


def add(path: Path, grown: Manifest) -> int:
    """Add the utterances of a corpus that has grown to a store; its features stay as they are.

    Returns:
        Number of added utterances.

    Raises:
        UsageError: The manifest is of another corpus or corpus reader, or another process is writing the store.
    """
    path = resolve_link(path)
    with replace_lock(path, existing=True), FeatureStore(path) as store:
        old = store.require_intact().manifest
        for what, stored, asked in (("corpus", old.corpus, grown.corpus), ("reader", old.reader, grown.reader)):
            if stored != asked:
                raise UsageError(f"{path} is of {what} {stored!r}, the manifest of {asked!r}")
        merged = grown.merged_into(old)
        if merged != old:
            rewrite_store(path, merged, [*store.features.values()])
        return len(set(merged.ids) - set(old.ids))


def rewrite_store(path: Path, manifest: Manifest, features: Sequence[Feature], *, partial: bool = False) -> int:
    """Rewrite a store or partial store with another manifest or other features.

    Returns:
        Bytes that this freed.
    """
    before = path.stat().st_size
    collected = [s for f in features if (s := find_feature_sources(manifest, [f], unwritten=partial))]
    assemble(path, manifest, collected, complete=not partial)
    return before - path.stat().st_size


def _with_dtype(feature: Feature, dtype: str | None, sources: FeatureSources) -> FeatureSources:
    """The same feature, to be stored as `dtype`."""
    if dtype is None or dtype == feature.spec.dtype:
        return sources
    provenance = {**feature.provenance, "stored_before_as": feature.spec.dtype}
    scale = channel_scale(feature) if dtype == "int8" else None
    return replace(sources, spec=replace(feature.spec, dtype=dtype, provenance=provenance), scale=scale)


def channel_scale(feature: Feature) -> NDArray[np.float32]:
    """The value of one int8 step of each channel: its largest absolute value over all written utterances / 127.

    Returns:
        [D] or [L, D]; 1 for a channel of only zeros.

    Raises:
        DataError: Damaged utterances.
    """
    largest = np.zeros(feature.spec.frame_shape, np.float32)
    for id, mark in zip(feature.ids, feature.marks().tolist(), strict=True):
        if mark:
            np.maximum(largest, np.abs(feature[id]).max(0), out=largest)
    return np.where(largest > 0, largest / np.float32(127), np.float32(1))

"""Recomputes every checksum of a store, names what is damaged, and drops it, so that it can be computed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emofuse.common.disk.files import resolve_link
from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.location import Location
from emofuse.manifests.schema import Manifest
from emofuse.store.core.assemble import FeatureSources, assemble, find_feature_sources
from emofuse.store.core.feature import Feature
from emofuse.store.core.partial import replace_lock
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import mark_of
from emofuse.store.edit.rewrite import rewrite_store
from emofuse.store.hdf5.safe_read import ForeignLayoutError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCheck:
    """The result of verifying one feature."""

    feature: str
    utterances: int = 0
    bytes: int = 0
    """Of all values; read unless `quick`."""
    damaged: tuple[str, ...] = ()
    """Ids whose values do not match their checksum."""
    stale: tuple[str, ...] = ()
    """Ids whose audio or text has changed since."""
    complete: bool = False
    unwritten: int = 0
    """Of a partial store: utterances that are not written yet."""
    unreadable: str | None = None
    """Why nothing of the feature can be read."""
    foreign: bool = False
    """Whether the only reason is another program's layout, which `repack` undoes."""

    @property
    def intact(self) -> bool:
        """Whether the feature is complete and nothing is damaged."""
        return not self.damaged and self.complete and self.unreadable is None

    @property
    def only_incomplete(self) -> bool:
        """Whether every value is written and undamaged, and the feature alone is not marked as complete."""
        return not (self.complete or self.damaged or self.unwritten or self.unreadable)


def verify(path: Location | str, *, quick: bool = False) -> list[FeatureCheck]:
    """Read every value of a store against its checksum, after manifest and indexes.

    Args:
        path: The store.
        quick: Do not read values: check manifest, indexes, file length and that every utterance was written.

    Returns:
        One check per feature, sorted by name.

    Raises:
        UsageError: No store at `path`.
        DataError: So damaged that it does not open, or the manifest is.
    """
    with FeatureStore(path) as store:
        _ = store.manifest  # reading it checks its digests
        checks = [_check(f, quick) for f in store.features.values()]
        checks += [
            FeatureCheck(feature=name, unreadable=str(error), foreign=isinstance(error, ForeignLayoutError))
            for name, error in store.damaged_features.items()
        ]
        return sorted(checks, key=lambda check: check.feature)


def _check(feature: Feature, quick: bool) -> FeatureCheck:
    marks = feature.marks().tolist()
    unwritten = {id for id, mark in zip(feature.ids, marks, strict=True) if not mark}
    damaged = sorted(unwritten) if quick else feature.damaged()
    if not feature.complete:
        damaged = [id for id in damaged if id not in unwritten]
    return FeatureCheck(
        feature=feature.name,
        utterances=len(feature.lengths),
        bytes=feature.nbytes,
        damaged=tuple(damaged),
        stale=tuple(feature.stale),
        complete=feature.complete,
        unwritten=0 if feature.complete else len(unwritten),
    )


def repair_manifest(path: Path, manifest: Manifest) -> None:
    """Rewrite a store with the same manifest as it was written with, in place of damaged columns.

    Raises:
        UsageError: It is another manifest, or another process is writing the store.
    """
    path = resolve_link(path)
    with replace_lock(path, existing=True), FeatureStore(path) as store:
        store.take_manifest(manifest)
        rewrite_store(path, manifest, [*store.require_intact().features.values()])


def repair(path: Path, checks: list[FeatureCheck]) -> None:
    """Rewrite a store without what `verify` found damaged: utterances, and features with a damaged index.

    The utterances stay in the manifest, so that `extract` fills the feature again.

    Raises:
        UsageError: Another process is writing the store, it has changed since it was verified, it is a partial store,
            or nothing is damaged but another program has changed its layout.
    """
    path = resolve_link(path)
    raise_problems([str(check.unreadable) for check in checks if check.foreign], "these features are not damaged")
    if any(check.unwritten for check in checks):
        raise UsageError(
            f"{path} is still in progress: the `extract` that writes it resumes, and checks its values itself"
        )
    damaged = {check.feature: set(check.damaged) for check in checks}
    with replace_lock(path, existing=True), FeatureStore(path) as store:
        if {*store.features, *store.damaged_features} != set(damaged):
            raise UsageError(f"{path} has other features now than when it was verified: verify it again")
        kept = [_without_damaged(store, f, damaged[f.name]) for f in store.features.values()]
        assemble(path, store.manifest, [g for g in kept if g])


def _without_damaged(store: FeatureStore, feature: Feature, damaged: set[str]) -> FeatureSources | None:
    """The feature without its damaged utterances; None where nothing is left."""
    gathered = find_feature_sources(store.manifest, [feature])
    marks, position = feature.marks(), feature.position
    # Checked once more: `extract` may have filled them meanwhile.
    damaged = {id for id in damaged if id in position and mark_of(feature.raw(position[id])) != marks[position[id]]}
    if gathered is None or not damaged:
        return gathered
    keep = [k for k, (_, i) in enumerate(gathered.pieces) if feature.ids[i] not in damaged]
    if not keep:
        return None
    pieces = [gathered.pieces[k] for k in keep]
    return FeatureSources(spec=gathered.spec, rows=gathered.rows[keep], pieces=pieces, scale=gathered.scale)

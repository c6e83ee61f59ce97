"""Recomputes every checksum of a store, names what is damaged, and drops it, so that it can be computed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emofuse.common.disk.files import behind_link
from emofuse.common.errors import UsageError, complain
from emofuse.common.location import Location
from emofuse.manifests.schema import Manifest
from emofuse.store.core.assemble import Gathered, assemble, gather, writing
from emofuse.store.core.feature import Feature
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import mark_of
from emofuse.store.edit.rewrite import rewritten
from emofuse.store.hdf5.safe_read import ForeignLayoutError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What one feature turned out to hold."""

    feature: str
    utterances: int = 0
    bytes: int = 0
    """Of values; read unless `quick`."""
    damaged: tuple[str, ...] = ()
    """Ids whose values do not match their checksum."""
    stale: tuple[str, ...] = ()
    """Ids whose audio or text has changed since."""
    complete: bool = False
    unwritten: int = 0
    """In a part: utterances still to come."""
    lost: str | None = None
    """Why nothing of it can be read."""
    foreign: bool = False
    """Whether that is only another program's layout, which `repack` undoes."""

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged and self.complete and self.lost is None


def verify(path: Location, *, quick: bool = False) -> list[Verified]:
    """Read every value of a store against its checksum, after manifest and indexes.

    Args:
        path: The store.
        quick: Leave the values unread: manifest, indexes, file length and that every utterance was written.

    Raises:
        UsageError: No store at `path`.
        DataError: So damaged that it does not open, or the manifest is.
    """
    with FeatureStore(path) as store:
        _ = store.manifest  # which checks its digests
        found = [_verified(f, quick) for f in store.features.values()]
        found += [
            Verified(feature=name, lost=str(error), foreign=isinstance(error, ForeignLayoutError))
            for name, error in store.damaged_features.items()
        ]
        return sorted(found, key=lambda v: v.feature)


def _verified(feature: Feature, quick: bool) -> Verified:
    marks = feature.marks().tolist()
    unwritten = {id for id, mark in zip(feature.ids, marks, strict=True) if not mark}
    damaged = sorted(unwritten) if quick else feature.damaged()
    if not feature.complete:
        damaged = [id for id in damaged if id not in unwritten]
    return Verified(
        feature=feature.name,
        utterances=len(feature.lengths),
        bytes=feature.nbytes,
        damaged=tuple(damaged),
        stale=tuple(feature.stale),
        complete=feature.complete,
        unwritten=0 if feature.complete else len(unwritten),
    )


def repair_manifest(path: Path, manifest: Manifest) -> None:
    """Write a store anew with the very manifest that it was written with, in place of damaged columns.

    Raises:
        UsageError: It is another manifest, or another process is writing the store.
    """
    path = behind_link(path)
    with writing(path, existing=True), FeatureStore(path) as store:
        store.take_manifest(manifest)
        rewritten(path, manifest, [*store.require_sound().features.values()])


def repair(path: Path, found: list[Verified]) -> None:
    """Write a store anew without what `verify` found damaged: those utterances, and features that lost their index.

    The utterances stay in the manifest, so that `extract` fills the feature again.

    Raises:
        UsageError: Another process is writing the store, it has changed since it was verified, it is a part under way,
            or nothing is damaged but another program has laid it out.
    """
    path = behind_link(path)
    complain([str(v.lost) for v in found if v.foreign], "nothing of these is damaged")
    if any(v.unwritten for v in found):
        raise UsageError(f"{path} is under way: the `extract` that writes it goes on, and looks at its values itself")
    lost = {v.feature: set(v.damaged) for v in found}
    with writing(path, existing=True), FeatureStore(path) as store:
        if {*store.features, *store.damaged_features} != set(lost):
            raise UsageError(f"{path} has other features now than when it was verified: verify it again")
        kept = [_without(store, f, lost[f.name]) for f in store.features.values()]
        assemble(path, store.manifest, [g for g in kept if g])


def _without(store: FeatureStore, feature: Feature, damaged: set[str]) -> Gathered | None:
    gathered = gather(store.manifest, [feature])
    marks, at = feature.marks(), feature.position
    # Looked at once more: `extract` may have filled them meanwhile.
    damaged = {id for id in damaged if id in at and mark_of(feature.raw(at[id])) != marks[at[id]]}
    if gathered is None or not damaged:
        return gathered
    keep = [k for k, (_, i) in enumerate(gathered.pieces) if feature.ids[i] not in damaged]
    if not keep:
        return None
    pieces = [gathered.pieces[k] for k in keep]
    return Gathered(spec=gathered.spec, rows=gathered.rows[keep], pieces=pieces, scale=gathered.scale)

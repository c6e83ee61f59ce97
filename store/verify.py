"""Recomputes every checksum of a store, names what is damaged, and drops it, so that it can be computed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.location import Location
from emofuse.store.assemble import Gathered, assemble, gather, writing
from emofuse.store.feature import Feature
from emofuse.store.reader import FeatureStore
from emofuse.store.spec import mark_of


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
    lost: str | None = None
    """Why nothing of it can be trusted."""

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
        assert store.manifest.ids, "reading the manifest checks its digests"
        found = [_verified(f, quick) for f in store.features.values()]
        found += [Verified(feature=name, lost=str(error)) for name, error in store.damaged_features.items()]
        return sorted(found, key=lambda v: v.feature)


def _verified(feature: Feature, quick: bool) -> Verified:
    if quick:
        damaged = [id for id, mark in zip(feature.ids, feature.marks().tolist(), strict=True) if not mark]
    else:
        damaged = feature.damaged()
    return Verified(
        feature=feature.name,
        utterances=len(feature.lengths),
        bytes=feature.nbytes,
        damaged=tuple(damaged),
        stale=tuple(feature.stale),
        complete=feature.complete,
    )


def repair(path: Path, found: list[Verified]) -> None:
    """Write a store anew without what `verify` found damaged: those utterances, and features that lost their index.

    The utterances stay in the manifest, so that `extract` fills the feature again.

    Raises:
        UsageError: Another process is writing the store, or it has changed since it was verified.
    """
    lost = {v.feature: set(v.damaged) for v in found}
    with writing(path), FeatureStore(path) as store:
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

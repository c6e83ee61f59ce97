"""The utterances of a store, one row each, as `store ls` filters them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from emofuse.common.console import printable
from emofuse.common.errors import UnknownNameError
from emofuse.manifests.schema import Utterance
from emofuse.store.core.reader import FeatureStore
from emofuse.store.inspect.describe import lacking

ATTRIBUTES = ("label", "session", "speaker", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which utterances are wanted; of several values of one kind, any will do, and every kind must fit."""

    label: Sequence[str] = ()
    session: Sequence[str] = ()
    speaker: Sequence[str] = ()
    split: Sequence[str] = ()
    lacking: str | None = None
    """A feature that the utterance could have (it has audio or text) and has not."""
    stale: str | None = None
    """A feature that was computed from other audio or text than the utterance has now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingRow:
    """An utterance and what the store's features hold of it."""

    utterance: Utterance
    frames: Mapping[str, int]
    """Feature -> frames, where values are there."""
    stale: tuple[str, ...]
    """Features whose values are no longer of this audio or text."""

    def facts(self) -> dict[str, Any]:
        """The row as one object, ready for JSON."""
        return {**known(self.utterance), "frames": dict(self.frames), "stale": list(self.stale)}


def known(utterance: Utterance) -> dict[str, Any]:
    """Every field of an utterance that says something, in the record's order."""
    said = {f.name: getattr(utterance, f.name) for f in fields(utterance)}
    return {k: dict(v) if k == "extra" else v for k, v in said.items() if v is not None and v != {}}


def rows(store: FeatureStore, filters: Filters) -> list[ListingRow]:
    """The utterances that pass all filters, in the store's order.

    Raises:
        UnknownNameError: A filter names a value or a feature that the store does not have; the valid ones are listed.
    """
    manifest, wanted = store.manifest, {a: set(getattr(filters, a)) for a in ATTRIBUTES if getattr(filters, a)}
    for attribute, values in wanted.items():
        counts = manifest.counts(attribute)
        for value in sorted(values - set(counts)):
            raise UnknownNameError(f"{attribute} in {store.path}", value, map(printable, counts))
    only = None if filters.lacking is None else set(lacking(store.feature(filters.lacking), manifest))
    if filters.stale is not None:
        outdated = set(store.feature(filters.stale).stale)
        only = outdated if only is None else only & outdated
    held: dict[str, dict[str, int]] = {u.id: {} for u in manifest.utterances}
    stale: dict[str, tuple[str, ...]] = {}
    for name, f in store.features.items():
        for id, frames, mark in zip(f.ids, f.lengths.tolist(), f.marks().tolist(), strict=True):
            if mark:
                held[id][name] = frames
        for id in f.stale:
            stale[id] = (*stale.get(id, ()), name)
    return [
        ListingRow(utterance=u, frames=held[u.id], stale=stale.get(u.id, ()))
        for u in manifest.utterances
        if (only is None or u.id in only) and all(getattr(u, a) in values for a, values in wanted.items())
    ]

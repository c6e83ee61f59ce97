"""The utterances of a store, one row each, as `store ls` filters them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from emofuse.common.errors import UnknownNameError
from emofuse.common.output.console import printable
from emofuse.manifests.schema import Utterance
from emofuse.store.core.reader import FeatureStore
from emofuse.store.inspect.describe import missing_ids

ATTRIBUTES = ("label", "session", "speaker", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which utterances to list: one that passes every filter; a filter with several values takes any of them."""

    label: Sequence[str] = ()
    session: Sequence[str] = ()
    speaker: Sequence[str] = ()
    split: Sequence[str] = ()
    missing: str | None = None
    """A feature without values of the utterance, although the utterance has its audio or text."""
    stale: str | None = None
    """A feature that was computed from other audio or text than the utterance has now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingRow:
    """An utterance and its values in the store's features."""

    utterance: Utterance
    frames: Mapping[str, int]
    """Feature -> frames, where values are written."""
    stale: tuple[str, ...]
    """Features whose values are of other audio or text than the utterance has now."""

    def as_json(self) -> dict[str, Any]:
        """The row as one object, ready for JSON."""
        return {**utterance_fields(self.utterance), "frames": dict(self.frames), "stale": list(self.stale)}


def utterance_fields(utterance: Utterance) -> dict[str, Any]:
    """The fields of an utterance that have a value, in the record's order."""
    values = {f.name: getattr(utterance, f.name) for f in fields(utterance)}
    return {k: dict(v) if k == "extra" else v for k, v in values.items() if v is not None and v != {}}


def list_utterances(store: FeatureStore, filters: Filters) -> list[ListingRow]:
    """The utterances that pass all filters, in the store's order.

    Raises:
        UnknownNameError: A filter names a value or a feature that the store does not have; the valid ones are listed.
    """
    manifest, wanted = store.manifest, {a: set(getattr(filters, a)) for a in ATTRIBUTES if getattr(filters, a)}
    for attribute, values in wanted.items():
        counts = manifest.counts(attribute)
        for value in sorted(values - set(counts)):
            raise UnknownNameError(f"{attribute} in {store.path}", value, map(printable, counts))
    selected = set(manifest.ids)
    if filters.missing is not None:
        selected &= set(missing_ids(store.feature(filters.missing), manifest))
    if filters.stale is not None:
        selected &= set(store.feature(filters.stale).stale)
    frames, stale = _frames_by_utterance(store)
    return [
        ListingRow(utterance=u, frames=frames[u.id], stale=stale.get(u.id, ()))
        for u in manifest.utterances
        if u.id in selected and all(getattr(u, a) in values for a, values in wanted.items())
    ]


def _frames_by_utterance(store: FeatureStore) -> tuple[dict[str, dict[str, int]], dict[str, tuple[str, ...]]]:
    """Utterance id -> feature -> written frames; and utterance id -> stale features."""
    frames: dict[str, dict[str, int]] = {u.id: {} for u in store.manifest.utterances}
    stale: dict[str, tuple[str, ...]] = {}
    for name, f in store.features.items():
        for id, length, mark in zip(f.ids, f.lengths.tolist(), f.marks().tolist(), strict=True):
            if mark:
                frames[id][name] = length
        for id in f.stale:
            stale[id] = (*stale.get(id, ()), name)
    return frames, stale

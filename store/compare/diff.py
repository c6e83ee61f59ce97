"""What differs between two stores: corpus, utterances, features, and if asked the values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from emofuse.common.console import printable
from emofuse.common.errors import DataError
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store.compare.diff_values import Largest, largest_difference
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import in_words, normal
from emofuse.store.core.reader import FeatureStore
from emofuse.store.inspect.describe import written
from emofuse.store.inspect.shortlist import ShortList, listed

KINDS = ("modality", "encoder", "view", "dtype", "dimension", "layers", "frame_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDiff:
    """How two manifests differ."""

    said: tuple[str, ...]
    """Corpus and reader, where they differ, and that the order does."""
    only_a: ShortList
    only_b: ShortList
    rows: int
    """Utterances of both that are not described alike."""
    fields: Mapping[str, ShortList]
    """Field -> the utterances, with both values."""
    excluded_a: ShortList
    excluded_b: ShortList

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.said or self.only_a or self.only_b or self.rows or self.excluded_a or self.excluded_b)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDiff:
    """How a feature of both stores differs."""

    name: str
    kind: tuple[str, ...]
    """Width, layers, type and the like: with these, bits cannot be compared."""
    fingerprint: tuple[str, ...]
    fitted_on: tuple[str, ...]
    """What the encoders were fitted on, where that differs."""
    only_a: ShortList
    only_b: ShortList
    lengths: ShortList
    """Utterances of both with another number of frames."""
    sources: ShortList
    """Utterances of both that were computed from other audio or text."""
    values: ShortList
    """Utterances of both, alike in frames, whose values differ in any bit; empty where bits cannot be compared."""
    remarks: tuple[str, ...]
    """The rest of provenance, completeness and what was not compared; no differences."""
    largest: Largest | None = None
    """How far the values lie apart, where that was asked for."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        found = (self.only_a, self.only_b, self.lengths, self.sources, self.values)
        return not (self.kind or self.fingerprint or self.fitted_on or any(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDiff:
    """How two stores differ."""

    manifest: ManifestDiff
    only_a: tuple[str, ...]
    """Features."""
    only_b: tuple[str, ...]
    features: tuple[FeatureDiff, ...]
    """Every feature that both have, alike or not."""

    @property
    def same(self) -> bool:
        """Whether both hold the same data and features."""
        return self.manifest.same and not (self.only_a or self.only_b) and all(f.same for f in self.features)


def diff(a: FeatureStore, b: FeatureStore, *, values: bool = False) -> StoreDiff:
    """Compare two stores.

    Args:
        a: One store.
        b: The other one.
        values: Read values too, and say how far they lie apart: those that differ in any bit, and all that both have
            where the types differ.

    Raises:
        DataError: One of them is damaged, in a feature's index or in values that were to be read.
    """
    require_sound(a, b)
    return StoreDiff(
        manifest=manifests(a.manifest, b.manifest),
        only_a=tuple(sorted(a.features.keys() - b.features.keys())),
        only_b=tuple(sorted(b.features.keys() - a.features.keys())),
        features=tuple(_features(f, b.features[name], values) for name, f in a.features.items() if name in b.features),
    )


def require_sound(*stores: FeatureStore) -> None:
    """Refuse a store with a feature that cannot be read: nobody knows how it differs.

    Raises:
        DataError: There is one; its name may be a stranger's, and is made safe to print.
    """
    for store in stores:
        for error in store.damaged_features.values():
            raise DataError(f"{printable(str(error), 400)}; `emofuse store verify --repair {store.path}` drops it")


def manifests(a: Manifest, b: Manifest) -> ManifestDiff:
    """Compare two manifests; where one leaves out the texts, it is their digests that are compared."""
    in_a, in_b = {u.id: u for u in a.utterances}, {u.id: u for u in b.utterances}
    common = [id for id in in_a if id in in_b]
    said = _unlike({"corpus": a.corpus, "reader": a.reader}, {"corpus": b.corpus, "reader": b.reader})
    if common != [id for id in in_b if id in in_a]:
        said = (*said, "the utterances stand in another order")
    if a.withholds_text != b.withholds_text and common:
        said = (*said, f"{'A' if a.withholds_text else 'B'} leaves out the texts")
        in_a, in_b = ({u.id: u for u in m.without_text().utterances} for m in (a, b))
    unlike = [id for id in common if in_a[id] != in_b[id]]
    by_field = {
        field.name: listed(
            f"{id} {_short(getattr(in_a[id], field.name))} | {_short(getattr(in_b[id], field.name))}"
            for id in unlike
            if getattr(in_a[id], field.name) != getattr(in_b[id], field.name)
        )
        for field in fields(Utterance)
    }
    left_out_a, left_out_b = {_excluded(e) for e in a.excluded}, {_excluded(e) for e in b.excluded}
    return ManifestDiff(
        said=said,
        only_a=listed(id for id in in_a if id not in in_b),
        only_b=listed(id for id in in_b if id not in in_a),
        rows=len(unlike),
        fields={name: found for name, found in by_field.items() if found},
        excluded_a=listed(sorted(left_out_a - left_out_b)),
        excluded_b=listed(sorted(left_out_b - left_out_a)),
    )


def _features(a: Feature, b: Feature, read: bool) -> FeatureDiff:
    kind = _unlike(_kind(a), _kind(b))
    if a.scale is not None and b.scale is not None and a.scale.tolist() != b.scale.tolist():
        kind = (*kind, "scale: the steps of int8 differ")
    held_a, held_b = dict.fromkeys(written(a)), dict.fromkeys(written(b))  # sets that keep their order
    common = [id for id in held_a if id in held_b]
    at_a, at_b = ([f.position[id] for id in common] for f in (a, b))
    frames = dict(zip(common, (a.lengths[at_a] == b.lengths[at_b]).tolist(), strict=True))
    bits = dict(zip(common, (a.marks()[at_a] == b.marks()[at_b]).tolist(), strict=True))
    sources_a, sources_b = a.sources, b.sources
    alike = [id for id in common if frames[id]]
    unlike = [] if kind else [id for id in alike if not bits[id]]
    recorded = ({k: v for k, v in f.provenance.items() if k != "fitted_on"} for f in (a, b))
    remarks = [f"provenance {words}" for words in _unlike(*map(flat, recorded))]
    remarks += [f"{name} is not complete" for name, f in (("A", a), ("B", b)) if not f.complete]
    largest, to_read = None, alike if kind else unlike
    if to_read and a.spec.frame_shape != b.spec.frame_shape:
        remarks.append("values were not compared: frames have another shape")
    elif to_read and read:
        largest = largest_difference(a, b, to_read)
    elif kind and to_read:
        remarks.append("values were not compared: --values does")
    return FeatureDiff(
        name=a.name,
        kind=kind,
        fingerprint=_unlike(flat(a.fingerprint), flat(b.fingerprint)),
        fitted_on=_fitted_on(a, b),
        only_a=listed(id for id in held_a if id not in held_b),
        only_b=listed(id for id in held_b if id not in held_a),
        lengths=listed(id for id in common if not frames[id]),
        sources=listed(
            id for id, i, j in zip(common, at_a, at_b, strict=True) if sources_a[i] != sources_b[j]
        ),
        values=listed(unlike),
        remarks=tuple(remarks),
        largest=largest,
    )  # fmt: skip


def _fitted_on(a: Feature, b: Feature) -> tuple[str, ...]:
    one, other = (f.provenance.get("fitted_on") for f in (a, b))
    return () if normal(one) == normal(other) else (f"A {in_words(one)}; B {in_words(other)}",)


def _kind(f: Feature) -> dict[str, Any]:
    return {name: list(v) if isinstance(v := getattr(f.spec, name), tuple) else v for name in KINDS}


def flat(said: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of mappings as one, with keys such as `audio.resampling.rolloff`."""
    found: dict[str, Any] = {}
    waiting = [("", said)]
    while waiting:
        prefix, level = waiting.pop()
        for key, value in level.items():
            if isinstance(value, Mapping) and value:
                waiting.append((f"{prefix}{key}.", value))
            else:
                found[f"{prefix}{key}"] = value
    return found


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys whose values differ, with both."""
    return tuple(
        f"{key}: A {json.dumps(a.get(key))}, B {json.dumps(b.get(key))}"
        for key in sorted({*a, *b})
        if a.get(key) != b.get(key)
    )


def _short(value: Any) -> str:
    words = repr(dict(value) if isinstance(value, Mapping) else value)
    return words if len(words) <= 50 else words[:49] + "…"


def _excluded(e: Excluded) -> str:
    return f"{e.id}{f' ({e.modality})' if e.modality else ''}: {e.reason}"

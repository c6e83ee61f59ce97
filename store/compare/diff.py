"""What differs between two stores: corpus, utterances, features, and on request their values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from emofuse.common.errors import DataError
from emofuse.common.nested import flatten
from emofuse.common.output.console import printable
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store.compare.diff_values import LargestDifference, largest_difference
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import describe_fitted_on, normalise_fitted_on
from emofuse.store.core.reader import FeatureStore
from emofuse.store.inspect.describe import written_ids
from emofuse.store.inspect.shortlist import ShortList, shorten

SPEC_FIELDS = ("modality", "encoder", "view", "dtype", "dimension", "layers", "frame_rate")
"""The fields of a spec without which values cannot be compared bit by bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDiff:
    """How two manifests differ."""

    general: tuple[str, ...]
    """Corpus, reader, order and missing texts, where they differ."""
    only_a: ShortList
    only_b: ShortList
    rows: int
    """Utterances of both whose fields differ."""
    fields: Mapping[str, ShortList]
    """Field -> the utterances in which it differs, with both values."""
    excluded_a: ShortList
    """Excluded in A only."""
    excluded_b: ShortList
    """Excluded in B only."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.general or self.only_a or self.only_b or self.rows or self.excluded_a or self.excluded_b)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDiff:
    """How a feature of both stores differs."""

    name: str
    kind: tuple[str, ...]
    """Dimension, layers, dtype and the like; where these differ, values cannot be compared bit by bit."""
    fingerprint: tuple[str, ...]
    fitted_on: tuple[str, ...]
    """What the encoders were fitted on, where that differs."""
    only_a: ShortList
    only_b: ShortList
    lengths: ShortList
    """Utterances of both with different numbers of frames."""
    sources: ShortList
    """Utterances of both that were computed from different audio or text."""
    values: ShortList
    """Utterances of both, with equally many frames, whose values differ in any bit; empty where `kind` differs."""
    remarks: tuple[str, ...]
    """The rest of provenance, completeness and what was not compared; these are not differences."""
    largest: LargestDifference | None = None
    """How far the values are apart, if requested."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        lists = (self.only_a, self.only_b, self.lengths, self.sources, self.values)
        return not (self.kind or self.fingerprint or self.fitted_on or any(lists))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDiff:
    """How two stores differ."""

    manifest: ManifestDiff
    only_a: tuple[str, ...]
    """Features in A only."""
    only_b: tuple[str, ...]
    """Features in B only."""
    features: tuple[FeatureDiff, ...]
    """Every feature that both have, same or not."""

    @property
    def same(self) -> bool:
        """Whether both hold the same data and features."""
        return self.manifest.same and not (self.only_a or self.only_b) and all(f.same for f in self.features)


def diff(a: FeatureStore, b: FeatureStore, *, values: bool = False) -> StoreDiff:
    """Compare two stores.

    Args:
        a: One store.
        b: The other one.
        values: Also read values, and measure how far they are apart: of utterances that differ in any bit or, where
            the dtypes differ, of all utterances that both have.

    Raises:
        DataError: One of them is damaged, in a feature's index or in values that had to be read.
    """
    require_intact(a, b)
    return StoreDiff(
        manifest=diff_manifests(a.manifest, b.manifest),
        only_a=tuple(sorted(a.features.keys() - b.features.keys())),
        only_b=tuple(sorted(b.features.keys() - a.features.keys())),
        features=tuple(
            _diff_features(f, b.features[name], values) for name, f in a.features.items() if name in b.features
        ),
    )


def require_intact(*stores: FeatureStore) -> None:
    """Refuse a store with a feature that cannot be read, and so cannot be compared.

    Raises:
        DataError: There is one; its name is untrusted input and made safe to print.
    """
    for store in stores:
        for error in store.damaged_features.values():
            raise DataError(f"{printable(str(error), 400)}; `emofuse store verify --repair {store.path}` drops it")


def diff_manifests(a: Manifest, b: Manifest) -> ManifestDiff:
    """Compare two manifests; where only one has texts, the digests of texts are compared."""
    in_a, in_b = {u.id: u for u in a.utterances}, {u.id: u for u in b.utterances}
    common = [id for id in in_a if id in in_b]
    general = key_differences({"corpus": a.corpus, "reader": a.reader}, {"corpus": b.corpus, "reader": b.reader})
    if common != [id for id in in_b if id in in_a]:
        general = (*general, "the utterances are in another order")
    if a.withholds_text != b.withholds_text and common:
        general = (*general, f"{'A' if a.withholds_text else 'B'} has no texts")
        in_a, in_b = ({u.id: u for u in m.without_text().utterances} for m in (a, b))
    unlike = [id for id in common if in_a[id] != in_b[id]]
    by_field = {
        field.name: shorten(
            f"{id} {_short(getattr(in_a[id], field.name))} | {_short(getattr(in_b[id], field.name))}"
            for id in unlike
            if getattr(in_a[id], field.name) != getattr(in_b[id], field.name)
        )
        for field in fields(Utterance)
    }
    excluded_a, excluded_b = {_excluded(e) for e in a.excluded}, {_excluded(e) for e in b.excluded}
    return ManifestDiff(
        general=general,
        only_a=shorten(id for id in in_a if id not in in_b),
        only_b=shorten(id for id in in_b if id not in in_a),
        rows=len(unlike),
        fields={name: utterances for name, utterances in by_field.items() if utterances},
        excluded_a=shorten(sorted(excluded_a - excluded_b)),
        excluded_b=shorten(sorted(excluded_b - excluded_a)),
    )


def _diff_features(a: Feature, b: Feature, read: bool) -> FeatureDiff:
    kind = _diff_specs(a, b)
    ids_a, ids_b = dict.fromkeys(written_ids(a)), dict.fromkeys(written_ids(b))  # sets that keep their order
    common = [id for id in ids_a if id in ids_b]
    at_a, at_b = ([f.position[id] for id in common] for f in (a, b))
    same_length = dict(zip(common, (a.lengths[at_a] == b.lengths[at_b]).tolist(), strict=True))
    same_bits = dict(zip(common, (a.marks()[at_a] == b.marks()[at_b]).tolist(), strict=True))
    sources_a, sources_b = a.sources, b.sources
    comparable = [id for id in common if same_length[id]]
    unlike = [] if kind else [id for id in comparable if not same_bits[id]]
    remarks, largest = _compare_values(a, b, comparable if kind else unlike, bool(kind), read)
    return FeatureDiff(
        name=a.name,
        kind=kind,
        fingerprint=key_differences(flatten(a.fingerprint), flatten(b.fingerprint)),
        fitted_on=_diff_fitted_on(a, b),
        only_a=shorten(id for id in ids_a if id not in ids_b),
        only_b=shorten(id for id in ids_b if id not in ids_a),
        lengths=shorten(id for id in common if not same_length[id]),
        sources=shorten(id for id, i, j in zip(common, at_a, at_b, strict=True) if sources_a[i] != sources_b[j]),
        values=shorten(unlike),
        remarks=(*_diff_provenance(a, b), *remarks),
        largest=largest,
    )


def _diff_specs(a: Feature, b: Feature) -> tuple[str, ...]:
    kind = key_differences(_spec_fields(a), _spec_fields(b))
    if a.scale is not None and b.scale is not None and a.scale.tolist() != b.scale.tolist():
        kind = (*kind, "scale: the steps of int8 differ")
    return kind


def _spec_fields(f: Feature) -> dict[str, Any]:
    return {name: list(v) if isinstance(v := getattr(f.spec, name), tuple) else v for name in SPEC_FIELDS}


def _compare_values(
    a: Feature, b: Feature, ids: Sequence[str], kind_differs: bool, read: bool
) -> tuple[list[str], LargestDifference | None]:
    """How far the values of `ids` are apart, if they are to be read; otherwise a remark on why they are not."""
    if not ids:
        return [], None
    if a.spec.frame_shape != b.spec.frame_shape:
        return ["values were not compared: the frames have different shapes"], None
    if read:
        return [], largest_difference(a, b, ids)
    return ["values were not compared: --values does that"] if kind_differs else [], None


def _diff_provenance(a: Feature, b: Feature) -> list[str]:
    records = ({k: v for k, v in f.provenance.items() if k != "fitted_on"} for f in (a, b))
    remarks = [f"provenance {difference}" for difference in key_differences(*map(flatten, records))]
    return remarks + [f"{name} is not complete" for name, f in (("A", a), ("B", b)) if not f.complete]


def _diff_fitted_on(a: Feature, b: Feature) -> tuple[str, ...]:
    of_a, of_b = (f.provenance.get("fitted_on") for f in (a, b))
    if normalise_fitted_on(of_a) == normalise_fitted_on(of_b):
        return ()
    return (f"A {describe_fitted_on(of_a)}; B {describe_fitted_on(of_b)}",)


def key_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys whose values differ, with both values."""
    return tuple(
        f"{key}: A {json.dumps(a.get(key))}, B {json.dumps(b.get(key))}"
        for key in sorted({*a, *b})
        if a.get(key) != b.get(key)
    )


def _short(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 50 else text[:49] + "…"


def _excluded(e: Excluded) -> str:
    return f"{e.id}{f' ({e.modality})' if e.modality else ''}: {e.reason}"

"""What emofuse records beside exported values, so that an import restores it: above all, `fitted_on`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable
from emofuse.manifests.jsonl import parse_record as parse_row
from emofuse.manifests.schema import Excluded
from emofuse.store import Feature

SIDE_FILE = "emofuse.json"
VERSION = 1
LARGEST = 16 << 20
"""Largest side file in bytes; emofuse never writes a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMetadata:
    """What a source declares about one feature; None means not declared."""

    corpus: str | None = None
    """The source's own name of its corpus."""
    fitted_on: list[dict[str, Any]] | None = None
    encoder: str | None = None
    view: str | None = None
    dtype: str | None = None
    layers: tuple[int, ...] | None = None
    frame_rate: float | None = None
    """Hz."""
    fingerprint: Mapping[str, Any] | None = None
    """The fingerprint of the feature that was exported."""
    fold: Mapping[str, Any] | None = None
    """Of a per-fold feature: the fold whose test side its encoder has not seen."""

    def for_corpus(self, corpus: str) -> FeatureMetadata:
        """The same under another corpus name: what was fitted on the source's corpus counts as fitted on this one."""
        if self.fitted_on is None or self.corpus is None or self.corpus.casefold() == corpus.casefold():
            return self
        own = [e for e in self.fitted_on if str(e["corpus"]).strip().casefold() == self.corpus.casefold()]
        return replace(self, fitted_on=[*self.fitted_on, *({**entry, "corpus": corpus} for entry in own)])

    @property
    def by_emofuse(self) -> bool:
        """Whether emofuse wrote the source."""
        return self.view is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOrigin:
    """The manifest that a source's utterances came from, without the utterances."""

    corpus: str
    reader: str
    excluded: tuple[Excluded, ...]

    def record(self) -> dict[str, Any]:
        """What an export writes, ready for JSON."""
        return {"corpus": self.corpus, "reader": self.reader, "excluded": [asdict(e) for e in self.excluded]}


def parse_origin(record: Any) -> ManifestOrigin | None:
    """Parse the key `manifest` of a record; None where the record has no such key.

    Raises:
        DataError: A field has an invalid value.
    """
    stored = record.get("manifest") if isinstance(record, Mapping) else None
    if stored is None:
        return None
    stored = stored if isinstance(stored, Mapping) else {}
    rows, problems = stored.get("excluded"), ["corpus, reader and excluded items are expected"]
    parsed: list[Excluded | None] = [None]
    if isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows):
        parsed = [parse_row(Excluded, {k: v for k, v in row.items() if v is not None}, problems) for row in rows]
    excluded = tuple(item for item in parsed if item is not None)
    corpus, reader = (name if _is_text(name) else None for name in (stored.get("corpus"), stored.get("reader")))
    if corpus is None or reader is None or len(excluded) < len(parsed):
        raise DataError(f"the source's record of its manifest is damaged: {printable(problems[-1], 300)}")
    return ManifestOrigin(corpus=corpus, reader=reader, excluded=excluded)


def _is_text(value: Any) -> bool:
    """Whether a value is text that UTF-8 can encode (no lone surrogates)."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def metadata_record(corpus: str, features: Iterable[Feature]) -> dict[str, Any]:
    """What an export writes about its features, ready for JSON."""
    return {
        "emofuse": VERSION,
        "corpus": corpus,
        "features": {
            f.name: {
                "modality": f.modality,
                "encoder": f.encoder,
                "view": f.view,
                "dtype": f.spec.dtype,
                "layers": list(f.layers),
                "frame_rate": f.frame_rate,
                # A missing key would be read back as "unknown"; a feature that declares nothing was fitted on nothing.
                "fitted_on": f.provenance.get("fitted_on") or [],
                "fingerprint": dict(f.fingerprint),
                **({"fold": f.provenance["fold"]} if "fold" in f.provenance else {}),
            }
            for f in features
        },
    }


def write_side_file(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `emofuse.json` into a folder."""
    (folder / SIDE_FILE).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_side_file(folder: Path, name: str, modality: str) -> FeatureMetadata:
    """Read what `emofuse.json` in `folder` declares about a feature; empty if there is no such file.

    Raises:
        UsageError: It comes from a newer emofuse.
        DataError: The file is damaged.
    """
    path = folder / SIDE_FILE
    if path.is_symlink() or not path.is_file():
        return FeatureMetadata()
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} has {path.stat().st_size} bytes; emofuse writes {LARGEST} at most")
    try:
        return parse_metadata(json.loads(path.read_bytes()), name, modality)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def parse_metadata(record: Any, name: str, modality: str) -> FeatureMetadata:
    """Parse a `metadata_record` for the feature called `name`, or for the only one of its modality.

    Raises:
        UsageError: It comes from a newer emofuse.
        DataError: A field has an invalid value.
    """
    if not isinstance(record, Mapping) or "emofuse" not in record:
        return FeatureMetadata()
    if record["emofuse"] != VERSION:
        raise UsageError(
            f"the source's emofuse record has version {record['emofuse']!r}, not {VERSION}: update emofuse"
        )
    stored = _stored_feature(record, name, modality)
    if stored is None:
        return FeatureMetadata()
    problems = _invalid_fields(stored)
    if problems:
        raise DataError(f"the source's record of feature {name!r} is damaged: {', '.join(problems)}")
    fingerprint, fold = stored.get("fingerprint"), stored.get("fold")
    corpus = record.get("corpus")
    return FeatureMetadata(
        corpus=corpus if isinstance(corpus, str) else None,
        fitted_on=stored["fitted_on"],
        encoder=stored["encoder"],
        view=stored["view"],
        dtype=stored["dtype"],
        layers=tuple(stored.get("layers", [])),
        frame_rate=stored.get("frame_rate"),
        fingerprint=fingerprint if isinstance(fingerprint, Mapping) else None,
        fold=fold if isinstance(fold, Mapping) else None,
    )


def _stored_feature(record: Mapping[str, Any], name: str, modality: str) -> Mapping[str, Any] | None:
    """The entry of the feature called `name`, else the only one of the modality."""
    features = record.get("features")
    candidates = {
        key: entry
        for key, entry in (features.items() if isinstance(features, Mapping) else ())
        if isinstance(entry, Mapping) and entry.get("modality") == modality
    }
    return candidates.get(name) or (next(iter(candidates.values())) if len(candidates) == 1 else None)


def _invalid_fields(stored: Mapping[str, Any]) -> list[str]:
    """The keys of a feature's entry whose values are missing or invalid."""
    rate, layers, fitted_on = stored.get("frame_rate"), stored.get("layers", []), stored.get("fitted_on")
    checks = (
        ("fitted_on", isinstance(fitted_on, list) and all(_is_fitted_on_entry(e) for e in fitted_on)),
        ("frame_rate", rate is None or (isinstance(rate, int | float) and 0 < rate < 1e6)),
        ("layers", isinstance(layers, list) and all(type(n) is int for n in layers)),
        *((key, isinstance(stored.get(key), str)) for key in ("encoder", "view", "dtype")),
    )
    return [key for key, valid in checks if not valid]


def _is_fitted_on_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("corpus"), str)

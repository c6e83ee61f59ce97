"""What emofuse says of a feature beside its values, so that it comes back with them: above all, `fitted_on`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.jsonl import parse as parse_row
from emofuse.manifests.schema import Excluded
from emofuse.store import Feature

SIDE_FILE = "emofuse.json"
VERSION = 1
LARGEST = 16 << 20
"""Bytes of a side file; more is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMetadata:
    """What a source says of one feature; each field is none where it is silent."""

    corpus: str | None = None
    """What the source calls its corpus."""
    fitted_on: list[dict[str, Any]] | None = None
    encoder: str | None = None
    view: str | None = None
    dtype: str | None = None
    layers: tuple[int, ...] | None = None
    frame_rate: float | None = None
    fingerprint: Mapping[str, Any] | None = None
    """The fingerprint of the feature that was exported."""
    fold: Mapping[str, Any] | None = None
    """The fold that it is a part for, whose test side its encoder has not seen."""

    def here(self, corpus: str) -> FeatureMetadata:
        """The same where the corpus goes by another name: what was fitted on under the one counts under the other."""
        if self.fitted_on is None or self.corpus is None or self.corpus.casefold() == corpus.casefold():
            return self
        own = [e for e in self.fitted_on if str(e["corpus"]).strip().casefold() == self.corpus.casefold()]
        return replace(self, fitted_on=[*self.fitted_on, *({**entry, "corpus": corpus} for entry in own)])

    @property
    def known(self) -> bool:
        """Whether emofuse wrote the source."""
        return self.view is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The manifest that a source's utterances came from, apart from the utterances."""

    corpus: str
    reader: str
    excluded: tuple[Excluded, ...]

    def record(self) -> dict[str, Any]:
        """What is written beside an export, JSON-ready."""
        return {"corpus": self.corpus, "reader": self.reader, "excluded": [asdict(e) for e in self.excluded]}


def origin_of(record: Any) -> Origin | None:
    """What a record says under `manifest`.

    Raises:
        DataError: A field is not what it should be.
    """
    told = record.get("manifest") if isinstance(record, Mapping) else None
    if told is None:
        return None
    told = told if isinstance(told, Mapping) else {}
    rows, problems = told.get("excluded"), ["corpus, reader and excluded items are expected"]
    made: list[Excluded | None] = [None]
    if isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows):
        made = [parse_row(Excluded, {k: v for k, v in row.items() if v is not None}, problems) for row in rows]
    excluded = tuple(item for item in made if item is not None)
    corpus, reader = (word if _writable(word) else None for word in (told.get("corpus"), told.get("reader")))
    if corpus is None or reader is None or len(excluded) < len(made):
        raise DataError(f"what the source says of its manifest is damaged: {printable(problems[-1], 300)}")
    return Origin(corpus=corpus, reader=reader, excluded=excluded)


def _writable(word: Any) -> bool:
    return isinstance(word, str) and not any("\ud800" <= c <= "\udfff" for c in word)


def describe(corpus: str, features: Iterable[Feature]) -> dict[str, Any]:
    """What is written beside an export, JSON-ready."""
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
                # Silence would come back as "unknown"; a feature that names nothing was fitted on nothing.
                "fitted_on": f.provenance.get("fitted_on") or [],
                "fingerprint": dict(f.fingerprint),
                **({"fold": f.provenance["fold"]} if "fold" in f.provenance else {}),
            }
            for f in features
        },
    }


def write_side_file(folder: Path, said: Mapping[str, Any]) -> None:
    """Write `emofuse.json` into a folder."""
    (folder / SIDE_FILE).write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_side_file(folder: Path, name: str, modality: str) -> FeatureMetadata:
    """What `emofuse.json` in `folder` says of a feature; nothing where there is none.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / SIDE_FILE
    if path.is_symlink() or not path.is_file():
        return FeatureMetadata()
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} has {path.stat().st_size} bytes, more than any that emofuse writes")
    try:
        return parse(json.loads(path.read_bytes()), name, modality)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def parse(record: Any, name: str, modality: str) -> FeatureMetadata:
    """What a record of `describe` says of the feature called `name`, or of the only one of its modality.

    Raises:
        UsageError: It comes from a newer emofuse.
        DataError: A field is not what it should be.
    """
    if not isinstance(record, Mapping) or "emofuse" not in record:
        return FeatureMetadata()
    if record["emofuse"] != VERSION:
        raise UsageError(f"the source's own record has version {record['emofuse']!r}, not {VERSION}: update emofuse")
    features = record.get("features")
    fitting = {
        key: f
        for key, f in (features.items() if isinstance(features, Mapping) else ())
        if isinstance(f, Mapping) and f.get("modality") == modality
    }
    chosen = fitting.get(name) or (next(iter(fitting.values())) if len(fitting) == 1 else None)
    if chosen is None:
        return FeatureMetadata()
    rate, layers, fitted_on = chosen.get("frame_rate"), chosen.get("layers", []), chosen.get("fitted_on")
    problems = [
        key
        for key, sound in (
            ("fitted_on", isinstance(fitted_on, list) and all(_entry(e) for e in fitted_on)),
            ("frame_rate", rate is None or (isinstance(rate, int | float) and 0 < rate < 1e6)),
            ("layers", isinstance(layers, list) and all(type(n) is int for n in layers)),
            *((key, isinstance(chosen.get(key), str)) for key in ("encoder", "view", "dtype")),
        )
        if not sound
    ]
    if problems:
        raise DataError(f"what the source says of feature {name!r} is damaged: {', '.join(problems)}")
    fingerprint, fold = chosen.get("fingerprint"), chosen.get("fold")
    corpus = record.get("corpus")
    return FeatureMetadata(
        corpus=corpus if isinstance(corpus, str) else None,
        fitted_on=fitted_on,
        encoder=chosen["encoder"],
        view=chosen["view"],
        dtype=chosen["dtype"],
        layers=tuple(layers),
        frame_rate=rate,
        fingerprint=fingerprint if isinstance(fingerprint, Mapping) else None,
        fold=fold if isinstance(fold, Mapping) else None,
    )


def _entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("corpus"), str)

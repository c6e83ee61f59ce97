"""A manifest as HDF5 columns, and back.

A string column is two datasets: its UTF-8 bytes end to end, and n + 1 offsets into them (Arrow's layout). Any HDF5
reader can take it apart, it has no padding, and it needs neither variable-length strings nor objects. No bytes: none.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import xxhash

from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.schema import OF_TEXT, Excluded, Manifest, Utterance
from emofuse.store.hdf5.safe_read import array, child, integer, put_text, text

TEXT_COLUMNS = ("id", "audio", "audio_digest", "text", "label", "speaker", "session", "dialogue", "split")
TIME_COLUMNS = ("start", "end", "seconds")
NO_TURN = np.iinfo(np.int64).min
FURTHER_COLUMNS = {2: ("text_digest", "sentence_digest"), 3: OF_TEXT}
"""The manifest's version -> its further text columns: 2 where texts were left out and stand as digests, 3 where a
recogniser wrote some; version 1 everywhere else."""


def write_text(group: h5py.Group, name: str, values: Sequence[str | None]) -> None:
    """Write one string column."""
    encoded = [(v or "").encode() for v in values]
    group.create_dataset(name, data=np.frombuffer(b"".join(encoded), np.uint8))
    group.create_dataset(f"{name}_offsets", data=np.cumsum([0, *map(len, encoded)], dtype=np.int64))


def read_text(group: h5py.Group, name: str) -> list[str | None]:
    """Read one string column.

    Raises:
        DataError: Offsets that do not fit the bytes, or bytes that are not UTF-8.
    """
    data, offsets = array(group, name, np.uint8).tobytes(), array(group, f"{name}_offsets", np.int64)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(data) or (offsets[1:] < offsets[:-1]).any():
        raise DataError(f"column {group.name}/{name} is damaged: its offsets do not fit its {len(data)} bytes")
    ends = offsets.tolist()
    try:
        return [data[a:b].decode() or None for a, b in itertools.pairwise(ends)]
    except UnicodeDecodeError as error:
        raise DataError(f"column {group.name}/{name} is damaged: {error}") from None


def write_columns(group: h5py.Group, manifest: Manifest) -> None:
    """Write a manifest into an empty group."""
    version = _version(manifest)
    put_text(group, "type", "manifest")
    group.attrs["version"] = version
    put_text(group, "reader", manifest.reader)
    put_text(group, "digest", manifest.digest())
    put_text(group, "rest_digest", rest_digest(manifest))
    for name in (*TEXT_COLUMNS, *FURTHER_COLUMNS.get(version, ())):
        write_text(group, name, [getattr(u, name) for u in manifest.utterances])
    write_text(
        group, "extra", [json.dumps(dict(u.extra), sort_keys=True) if u.extra else None for u in manifest.utterances]
    )
    for name in TIME_COLUMNS:
        seconds = [getattr(u, name) for u in manifest.utterances]
        group.create_dataset(name, data=np.array([np.nan if s is None else s for s in seconds], np.float64))
    group.create_dataset(
        "turn", data=np.array([NO_TURN if u.turn is None else u.turn for u in manifest.utterances], np.int64)
    )
    excluded = group.create_group("excluded")
    write_text(excluded, "id", [e.id for e in manifest.excluded])
    write_text(excluded, "reason", [e.reason for e in manifest.excluded])
    write_text(excluded, "modality", [e.modality for e in manifest.excluded])


def read_columns(group: h5py.Group, corpus: str) -> Manifest:
    """Read a manifest.

    Raises:
        UsageError: Its version is newer than this one knows.
        DataError: A column is absent or damaged, or a digest does not match.
    """
    if text(group, "type") != "manifest":
        raise DataError(f"its type is {text(group, 'type')!r}, expected 'manifest'")
    version = integer(group, "version")
    if version < 1:
        raise DataError(f"it has version {version}, which there never was")
    newest = max(FURTHER_COLUMNS)
    if version > newest:
        raise UsageError(f"the manifest has version {version}, newer than {newest}: update emofuse")
    names = (*TEXT_COLUMNS, *FURTHER_COLUMNS.get(version, ()))
    try:
        texts = {name: read_text(group, name) for name in (*names, "extra")}
        columns: dict[str, Sequence[Any]] = {**texts}
        for name in TIME_COLUMNS:
            columns[name] = [None if v != v else v for v in array(group, name, np.float64).tolist()]
        columns["turn"] = [None if v == NO_TURN else v for v in array(group, "turn", np.int64).tolist()]
        columns["extra"] = [_extra(v) for v in texts["extra"]]
        lost = child(group, "excluded", h5py.Group)
        excluded = zip(*(read_text(lost, name) for name in ("id", "reason", "modality")), strict=True)
        fields = list(columns)
        manifest = Manifest(
            corpus=corpus,
            reader=text(group, "reader"),
            utterances=tuple(
                Utterance(**dict(zip(fields, row, strict=True))) for row in zip(*columns.values(), strict=True)
            ),
            excluded=tuple(Excluded(id=i or "", reason=r or "", modality=m) for i, r, m in excluded),
        )
    except (UsageError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"its rows are wrong: {str(error)[:2000]}") from None
    if manifest.digest() != text(group, "digest"):
        raise DataError("its digest does not match")
    # Files from before this digest was written lack it; a header cannot lose an attribute without HDF5 noticing.
    if "rest_digest" in group.attrs and rest_digest(manifest) != text(group, "rest_digest"):
        raise DataError("the digest of its reader and its excluded items does not match")
    return manifest


def rest_digest(manifest: Manifest) -> str:
    """Digest of what the manifest's own digest leaves out: reader and excluded items."""
    rows = [[e.id, e.reason, e.modality] for e in manifest.excluded]
    return xxhash.xxh3_128_hexdigest(json.dumps([manifest.reader, rows], ensure_ascii=False).encode())


def _version(manifest: Manifest) -> int:
    """The lowest version that has a column for everything in the manifest."""
    used = {name for u in manifest.utterances for name in OF_TEXT if getattr(u, name) is not None}
    return next((v for v, names in FURTHER_COLUMNS.items() if used and used <= set(names)), 1)


def _extra(words: str | None) -> dict[str, str | float]:
    found = json.loads(words) if words else {}
    if not isinstance(found, dict) or not all(isinstance(v, str | int | float) for v in found.values()):
        raise ValueError("a row of `extra` is no JSON object of texts and numbers")
    return found

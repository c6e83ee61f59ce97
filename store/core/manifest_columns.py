"""Writes a manifest as HDF5 columns, and reads it back.

A text column is two datasets: its UTF-8 bytes end to end, and n + 1 offsets into them (Arrow's layout). Any HDF5
library can read it, it has no padding, and it needs neither variable-length strings nor objects. A row without bytes is
None.
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
from emofuse.manifests.schema import TEXT_FIELDS, Excluded, Manifest, Utterance
from emofuse.store.hdf5.safe_read import array, child, integer, put_text, text

TEXT_COLUMNS = ("id", "audio", "audio_digest", "text", "label", "speaker", "session", "dialogue", "split")
TIME_COLUMNS = ("start", "end", "seconds")
_NO_TURN = np.iinfo(np.int64).min
_ADDITIONAL_COLUMNS = {2: ("text_digest", "sentence_digest"), 3: TEXT_FIELDS}
"""Version of the manifest -> its additional text columns: 2 where texts were replaced by their digests, 3 where a
speech recogniser wrote some; version 1 everywhere else."""


def write_text(group: h5py.Group, name: str, values: Sequence[str | None]) -> None:
    """Write one text column."""
    encoded = [(v or "").encode() for v in values]
    group.create_dataset(name, data=np.frombuffer(b"".join(encoded), np.uint8))
    group.create_dataset(f"{name}_offsets", data=np.cumsum([0, *map(len, encoded)], dtype=np.int64))


def read_text(group: h5py.Group, name: str) -> list[str | None]:
    """Read one text column.

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
    for name in (*TEXT_COLUMNS, *_ADDITIONAL_COLUMNS.get(version, ())):
        write_text(group, name, [getattr(u, name) for u in manifest.utterances])
    write_text(
        group, "extra", [json.dumps(dict(u.extra), sort_keys=True) if u.extra else None for u in manifest.utterances]
    )
    for name in TIME_COLUMNS:
        seconds = [getattr(u, name) for u in manifest.utterances]
        group.create_dataset(name, data=np.array([np.nan if s is None else s for s in seconds], np.float64))
    group.create_dataset(
        "turn", data=np.array([_NO_TURN if u.turn is None else u.turn for u in manifest.utterances], np.int64)
    )
    excluded = group.create_group("excluded")
    write_text(excluded, "id", [e.id for e in manifest.excluded])
    write_text(excluded, "reason", [e.reason for e in manifest.excluded])
    write_text(excluded, "modality", [e.modality for e in manifest.excluded])


def read_columns(group: h5py.Group, corpus: str) -> Manifest:
    """Read a manifest.

    Raises:
        UsageError: Its version is newer than this one knows.
        DataError: A column is missing or damaged, or a digest does not match.
    """
    version = _check_version(group)
    try:
        manifest = _read_rows(group, corpus, version)
    except (UsageError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"its rows are wrong: {str(error)[:2000]}") from None
    if manifest.digest() != text(group, "digest"):
        raise DataError("its digest does not match")
    # Older files do not have this digest. HDF5 notices if an attribute is removed: headers have a checksum.
    if "rest_digest" in group.attrs and rest_digest(manifest) != text(group, "rest_digest"):
        raise DataError("the digest of its reader and its excluded utterances does not match")
    return manifest


def _check_version(group: h5py.Group) -> int:
    if text(group, "type") != "manifest":
        raise DataError(f"its type is {text(group, 'type')!r}, expected 'manifest'")
    version, newest = integer(group, "version"), max(_ADDITIONAL_COLUMNS)
    if version < 1:
        raise DataError(f"it has version {version}, which does not exist")
    if version > newest:
        raise UsageError(f"the manifest has version {version}, newer than {newest}: update emofuse")
    return version


def _read_rows(group: h5py.Group, corpus: str, version: int) -> Manifest:
    names = (*TEXT_COLUMNS, *_ADDITIONAL_COLUMNS.get(version, ()))
    columns: dict[str, Sequence[Any]] = {name: read_text(group, name) for name in names}
    columns["extra"] = [_parse_extra(row) for row in read_text(group, "extra")]
    for name in TIME_COLUMNS:
        columns[name] = [None if v != v else v for v in array(group, name, np.float64).tolist()]
    columns["turn"] = [None if v == _NO_TURN else v for v in array(group, "turn", np.int64).tolist()]
    excluded_group = child(group, "excluded", h5py.Group)
    excluded = zip(*(read_text(excluded_group, name) for name in ("id", "reason", "modality")), strict=True)
    fields = list(columns)
    return Manifest(
        corpus=corpus,
        reader=text(group, "reader"),
        utterances=tuple(
            Utterance(**dict(zip(fields, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ),
        excluded=tuple(Excluded(id=i or "", reason=r or "", modality=m) for i, r, m in excluded),
    )


def rest_digest(manifest: Manifest) -> str:
    """Digest (xxh3-128) of what the manifest's own digest leaves out: reader and excluded utterances."""
    rows = [[e.id, e.reason, e.modality] for e in manifest.excluded]
    return xxhash.xxh3_128_hexdigest(json.dumps([manifest.reader, rows], ensure_ascii=False).encode())


def _version(manifest: Manifest) -> int:
    """The lowest version that has a column for everything in the manifest."""
    used = {name for u in manifest.utterances for name in TEXT_FIELDS if getattr(u, name) is not None}
    return next((v for v, names in _ADDITIONAL_COLUMNS.items() if used and used <= set(names)), 1)


def _parse_extra(row: str | None) -> dict[str, str | float]:
    extra = json.loads(row) if row else {}
    if not isinstance(extra, dict) or not all(isinstance(v, str | int | float) for v in extra.values()):
        raise ValueError("a row of `extra` is not a JSON object of texts and numbers")
    return extra

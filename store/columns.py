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

from emofuse.common.errors import DataError
from emofuse.manifests.schema import Excluded, Manifest, Utterance

TEXT_COLUMNS = ("id", "audio", "audio_digest", "text", "label", "speaker", "session", "dialogue", "split")
TIME_COLUMNS = ("start", "end", "seconds")
NO_TURN = np.iinfo(np.int64).min


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
    data, offsets = group[name][()].tobytes(), group[f"{name}_offsets"][()]
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
        raise DataError(f"column {group.name}/{name} is damaged: its offsets do not fit its {len(data)} bytes")
    ends = offsets.tolist()
    try:
        return [data[a:b].decode() or None for a, b in itertools.pairwise(ends)]
    except UnicodeDecodeError as error:
        raise DataError(f"column {group.name}/{name} is damaged: {error}") from None


def write_columns(group: h5py.Group, manifest: Manifest) -> None:
    """Write a manifest into an empty group."""
    group.attrs["reader"] = manifest.reader
    group.attrs["digest"] = manifest.digest()
    for name in TEXT_COLUMNS:
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
        DataError: A column is absent or damaged, or the digest does not match.
    """
    try:
        texts = {name: read_text(group, name) for name in (*TEXT_COLUMNS, "extra")}
        columns: dict[str, Sequence[Any]] = {**texts}
        for name in TIME_COLUMNS:
            columns[name] = [None if np.isnan(v) else v for v in group[name][()].tolist()]
        columns["turn"] = [None if v == NO_TURN else v for v in group["turn"][()].tolist()]
        columns["extra"] = [json.loads(v) if v else {} for v in texts["extra"]]
        excluded = zip(*(read_text(group["excluded"], name) for name in ("id", "reason", "modality")), strict=True)
        names = list(columns)
        manifest = Manifest(
            corpus=corpus,
            reader=str(group.attrs["reader"]),
            utterances=tuple(
                Utterance(**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)
            ),
            excluded=tuple(Excluded(id=i or "", reason=r or "", modality=m) for i, r, m in excluded),
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"the manifest in the store is damaged: {error}") from None
    if manifest.digest() != group.attrs["digest"]:
        raise DataError("the manifest in the store is damaged: its digest does not match")
    return manifest

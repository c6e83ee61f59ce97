"""Rewrites a store in the layout of FORMAT.md, also where another program has compressed or moved its content."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emofuse.common.disk.files import copy_permissions, resolve_link, sync_folder
from emofuse.common.disk.positioned import pwrite
from emofuse.common.errors import DataError, UsageError
from emofuse.common.system.interrupts import uninterrupted
from emofuse.manifests.schema import TEXT_FIELDS
from emofuse.store.core.layout import chunk_frames, create_extent, refuse_full_disk
from emofuse.store.core.manifest_columns import TEXT_COLUMNS, TIME_COLUMNS
from emofuse.store.core.partial import draft_path, replace_lock
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import STORED_DTYPES
from emofuse.store.core.store_file import HDF5_ERRORS
from emofuse.store.edit.rewrite import rewrite_store
from emofuse.store.hdf5 import safe_read
from emofuse.store.hdf5.block_cache import Hdf5Stream
from emofuse.store.hdf5.byte_source import LocalFile
from emofuse.store.hdf5.memory_file import new_hdf5_file

_MOST_EXPANSION, _SMALL_BYTES = 64, 1 << 26
"""All datasets together may declare this many times the bytes of the file, and this many more."""
_COLUMNS = (
    *(c for name in (*TEXT_COLUMNS, "extra", *TEXT_FIELDS) for c in (name, f"{name}_offsets")),
    *TIME_COLUMNS,
    "turn",
)
_EXCLUDED = tuple(c for name in ("id", "reason", "modality") for c in (name, f"{name}_offsets"))
_EXTENTS = ("mark", "encoder_seconds", "complete")
_INDEX = ("row", "start", "length", "source", "fingerprint", "provenance", "scale", *_EXTENTS, "values")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repacked:
    """The result of a repack."""

    freed: int
    """Bytes; negative where the file grew."""
    damaged: dict[str, list[str]]
    """Feature -> utterances whose values do not match their checksum; they are copied as they are."""


def repack(path: Path) -> Repacked:
    """Rewrite a store, and verify every value against its checksum.

    Raises:
        UsageError: No store, or another process is writing it.
        DataError: Its manifest or the index of a feature is damaged.
    """
    path = resolve_link(path)
    with replace_lock(path, existing=True):
        before = path.stat().st_size
        try:
            with FeatureStore(path) as store:
                rewrite_store(path, store.manifest, [*store.require_intact().features.values()])
        except safe_read.ForeignLayoutError:
            _restore_layout(path)
        with FeatureStore(path) as store:
            damaged = {f.name: f.damaged() for f in store.features.values()}
        return Repacked(freed=before - path.stat().st_size, damaged={n: ids for n, ids in damaged.items() if ids})


def _restore_layout(path: Path) -> None:
    draft = draft_path(path)
    try:
        _copy_through_hdf5(path, draft)
        with FeatureStore(draft) as store:
            _ = store.require_intact().manifest  # verifies its digests
        copy_permissions(path, draft)
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _copy_through_hdf5(path: Path, target: Path) -> None:
    """Copy every attribute and dataset through HDF5, values into one extent each."""
    source = LocalFile(path)
    try:
        with (
            refuse_full_disk(target, f"the values of {path}"),
            h5py.File(Hdf5Stream(source.metadata), "r") as old,
        ):
            with new_hdf5_file(target) as new:
                _copy_attributes(old, new)
                _copy_metadata(old, new, _Allowance(_SMALL_BYTES + _MOST_EXPANSION * source.length))
            _copy_values(old, target)
    except HDF5_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(f"{path} cannot be read: {error}") from None
    finally:
        source.close()


def _copy_attributes(old: Any, new: Any) -> None:
    for name in old.attrs:
        value = safe_read.attribute(old, name)
        if isinstance(value, str | bytes):
            safe_read.put_text(new, name, value if isinstance(value, str) else value.decode())
        else:
            new.attrs[name] = value


@dataclass(slots=True)
class _Allowance:
    """Bytes that datasets may still declare: compressed zeros can declare any size."""

    remaining: int

    def take(self, node: h5py.Dataset) -> None:
        """Subtract what a dataset declares.

        Raises:
            DataError: It is too much.
        """
        declared = math.prod(node.shape) * node.dtype.itemsize
        self.remaining -= declared
        if self.remaining < 0:
            raise DataError(f"{node.name} declares {declared} bytes, far more than a file of this size can have")


def _copy_metadata(old: h5py.File, new: h5py.File, allowance: _Allowance) -> None:
    """Copy what FORMAT.md specifies, except the values, for which space is made."""
    manifest, features = (safe_read.child(old, name, h5py.Group) for name in ("manifest", "features"))
    _copy_columns(manifest, new.create_group("manifest"), _COLUMNS, allowance)
    excluded = safe_read.child(manifest, "excluded", h5py.Group)
    _copy_columns(excluded, new["manifest"].create_group("excluded"), _EXCLUDED, allowance)
    new.create_group("features")
    for name in features:
        group = new["features"].create_group(name)
        _copy_columns(safe_read.child(features, name, h5py.Group), group, _INDEX, allowance)


def _copy_columns(old: h5py.Group, new: h5py.Group, names: Sequence[str], allowance: _Allowance) -> None:
    _copy_attributes(old, new)
    for name in names:
        if name not in old:  # the new file is opened at the end, which finds whether a required one is missing
            continue
        node = safe_read.child(old, name, h5py.Dataset)
        node = safe_read.dataset(old, name, node.dtype, node.ndim, filters=True)
        if node.dtype.hasobject or node.dtype.kind not in "iufS":
            raise DataError(f"{node.name} holds {node.dtype}; a store has only plain numbers and text of fixed length")
        allowance.take(node)
        if name == "values":
            frames = chunk_frames(node.shape[0], math.prod(node.shape[1:]) * node.dtype.itemsize)
            create_extent(new, name, node.shape, node.dtype, chunks=(frames, *node.shape[1:]))
        elif name in _EXTENTS:
            create_extent(new, name, node.shape, node.dtype, zero=True)
            new[name][...] = node[()]
        else:
            new.create_dataset(name, data=node[()])


def _copy_values(old: h5py.File, target: Path) -> None:
    """Copy the values of every feature into their place, a chunk at a time."""
    with FeatureStore(target) as store:
        if set(store) != set(old["features"]):
            raise UsageError("; ".join(str(error) for error in store.damaged_features.values()))
        places = {f.name: (f.values_offset, f.spec) for f in store.features.values()}
    with target.open("r+b") as file:
        for name, (offset, spec) in places.items():
            values, width = old["features"][name]["values"], spec.frame_bytes
            step = chunk_frames(values.shape[0], width)
            for first in range(0, values.shape[0], step):
                with uninterrupted():
                    block = np.ascontiguousarray(values[first : first + step], STORED_DTYPES[spec.dtype])
                pwrite(file.fileno(), block.tobytes(), offset + first * width)
        os.fsync(file.fileno())

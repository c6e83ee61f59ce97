"""Writes a store anew: in the house's own layout, also where another program has compressed it or moved it about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emofuse.common.disk.files import behind_link, sync_folder, take_mode
from emofuse.common.errors import DataError, UsageError
from emofuse.common.system.interrupts import uninterrupted
from emofuse.manifests.schema import OF_TEXT
from emofuse.store.core.assemble import writing
from emofuse.store.core.layout import extent, refuse_full_disk, value_chunk
from emofuse.store.core.manifest_columns import TEXT_COLUMNS, TIME_COLUMNS
from emofuse.store.core.reader import HDF5_ERRORS, FeatureStore
from emofuse.store.core.spec import RAW
from emofuse.store.edit.rewrite import rewritten
from emofuse.store.hdf5 import safe_read
from emofuse.store.hdf5.byte_source import ByteStream, pwrite
from emofuse.store.hdf5.memory_file import new_hdf5_file
from emofuse.store.hdf5.remote import open_source

EXPANSION, SMALL = 64, 1 << 26
"""What all columns, or all values, may claim: so many times the file's bytes, and this much more."""
COLUMNS = (
    *(c for name in (*TEXT_COLUMNS, "extra", *OF_TEXT) for c in (name, f"{name}_offsets")),
    *TIME_COLUMNS,
    "turn",
)
EXCLUDED = tuple(c for name in ("id", "reason", "modality") for c in (name, f"{name}_offsets"))
INDEX = ("row", "start", "length", "source", "fingerprint", "provenance", "scale", "mark", "complete", "values")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repacked:
    """What writing a store anew gave."""

    freed: int
    """Bytes."""
    damaged: dict[str, list[str]]
    """Feature -> utterances whose values do not match their checksum; they are carried along as they are."""


def repack(path: Path) -> Repacked:
    """Write a store anew, and look at every value against its checksum.

    Raises:
        UsageError: No store, or another process is writing it.
        DataError: Its manifest or the index of a feature is damaged.
    """
    path = behind_link(path)
    with writing(path, existing=True):
        before = path.stat().st_size
        try:
            with FeatureStore(path) as store:
                manifest, features = store.manifest, [*store.require_sound().features.values()]
                rewritten(path, manifest, features)
        except safe_read.ForeignLayoutError:
            _straighten(path)
        with FeatureStore(path) as store:
            found = {f.name: f.damaged() for f in store.features.values()}
        return Repacked(freed=before - path.stat().st_size, damaged={n: ids for n, ids in found.items() if ids})


def _straighten(path: Path) -> None:
    new = path.with_name(path.name + ".new")
    try:
        _relay(path, new)
        with FeatureStore(new) as store:
            _ = store.require_sound().manifest  # which checks its digests
        take_mode(path, new)
        new.replace(path)
        sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _relay(path: Path, target: Path) -> None:
    """Copy every attribute and dataset through HDF5, values into one extent each."""
    source = open_source(path)
    try:
        with refuse_full_disk(target, f"the values of {path}"), h5py.File(ByteStream(source), "r") as old:
            with new_hdf5_file(target) as new:
                _copy_attributes(old, new)
                _copy_known(old, new, Allowance(SMALL + EXPANSION * source.length))
            _fill(old, target)
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
class Allowance:
    """Bytes that may still be claimed: compressed zeros may claim anything."""

    left: int

    def take(self, node: h5py.Dataset) -> None:
        """Count what a dataset claims.

        Raises:
            DataError: It is too much.
        """
        claimed = int(np.prod(node.shape, dtype=object)) * node.dtype.itemsize
        self.left -= claimed
        if self.left < 0:
            raise DataError(f"{node.name} claims {claimed} bytes, far more than the file can mean")


def _copy_known(old: h5py.File, new: h5py.File, allowance: Allowance) -> None:
    """Copy what FORMAT.md knows, each once, values left to be filled."""
    manifest, features = (safe_read.child(old, name, h5py.Group) for name in ("manifest", "features"))
    _copy_columns(manifest, new.create_group("manifest"), COLUMNS, allowance)
    excluded = safe_read.child(manifest, "excluded", h5py.Group)
    _copy_columns(excluded, new["manifest"].create_group("excluded"), EXCLUDED, allowance)
    new.create_group("features")
    for name in features:
        group = new["features"].create_group(name)
        _copy_columns(safe_read.child(features, name, h5py.Group), group, INDEX, allowance)


def _copy_columns(old: h5py.Group, new: h5py.Group, names: Sequence[str], allowance: Allowance) -> None:
    _copy_attributes(old, new)
    for name in names:
        if name not in old:  # which of them must be there, the reader says
            continue
        node = safe_read.child(old, name, h5py.Dataset)
        node = safe_read.dataset(old, name, node.dtype, node.ndim, filters=True)
        if node.dtype.hasobject or node.dtype.kind not in "iufS":
            raise DataError(f"{node.name} holds {node.dtype}; a store has plain numbers alone")
        allowance.take(node)
        if name == "values":
            chunk = value_chunk(node.shape[0], int(np.prod(node.shape[1:])) * node.dtype.itemsize)
            extent(new, name, node.shape, node.dtype, chunks=(chunk, *node.shape[1:]))
        elif name in ("mark", "complete"):
            extent(new, name, node.shape, node.dtype, zero=True)
            new[name][...] = node[()]
        else:
            new.create_dataset(name, data=node[()])


def _fill(old: h5py.File, target: Path) -> None:
    """Copy the values of every feature, some frames at a time."""
    offsets = {}
    with FeatureStore(target) as store:
        if set(store.features) != set(old["features"]):
            raise UsageError("; ".join(str(error) for error in store.damaged_features.values()))
        offsets = {f.name: (f.values_offset, f.spec.frame_bytes, RAW[f.spec.dtype]) for f in store.features.values()}
    with target.open("r+b") as file:
        for name, (offset, width, dtype) in offsets.items():
            values = old["features"][name]["values"]
            step = value_chunk(values.shape[0], width)
            for first in range(0, values.shape[0], step):
                with uninterrupted():
                    block = np.ascontiguousarray(values[first : first + step], dtype)
                pwrite(file.fileno(), block.tobytes(), offset + first * width)
        os.fsync(file.fileno())

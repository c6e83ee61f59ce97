"""Writes a store anew: in the house's own layout, also where another program has compressed it or moved it about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emofuse.common.errors import DataError, UsageError
from emofuse.common.interrupts import uninterrupted
from emofuse.store import nodes
from emofuse.store.assemble import writing
from emofuse.store.bytesource import Stream, pwrite
from emofuse.store.draft import drafted
from emofuse.store.edit import rewritten
from emofuse.store.layout import extent, refuse_full_disk, value_chunk
from emofuse.store.reader import HDF5_ERRORS, FeatureStore
from emofuse.store.remote import open_source
from emofuse.store.spec import RAW

LARGEST_COLUMN = 1 << 32
"""Bytes of any dataset but `values`, at most: compressed zeros may claim anything."""


def repack(path: Path) -> int:
    """Write a store anew, every value checked; the bytes that this gave back.

    Raises:
        UsageError: No store, or another process is writing it.
        DataError: It is damaged.
    """
    with writing(path):
        with FeatureStore(path) as store:
            usual = not store.damaged_features
            if usual:
                return rewritten(path, store.manifest, [*store.features.values()])
        before, straight = path.stat().st_size, path.with_name(path.name + ".new")
        try:
            _relay(path, straight)
            with FeatureStore(straight) as store:
                damaged = [f"{f.name}: {id}" for f in store.require_sound().features.values() for id in f.damaged()]
                assert store.manifest.ids, "reading the manifest checks its digests"
            if damaged:
                raise DataError(f"{path}: {len(damaged)} utterances are damaged, {', '.join(damaged[:5])} first")
            straight.replace(path)
        finally:
            straight.unlink(missing_ok=True)
        return before - path.stat().st_size


def _relay(path: Path, target: Path) -> None:
    """Copy every attribute and dataset through HDF5, values into one extent each."""
    source = open_source(path)
    try:
        with refuse_full_disk(target, f"the values of {path}"), h5py.File(Stream(source), "r") as old:
            with drafted(target) as new:
                _copy_attributes(old, new)
                for name in ("manifest", "features"):
                    _copy_group(nodes.child(old, name, h5py.Group), new.create_group(name))
            _fill(old, target)
    except HDF5_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(f"{path} cannot be read: {error}") from None
    finally:
        source.close()


def _copy_attributes(old: Any, new: Any) -> None:
    for name in old.attrs:
        value = nodes.attribute(old, name)
        if isinstance(value, str | bytes):
            nodes.put_text(new, name, value if isinstance(value, str) else value.decode())
        else:
            new.attrs[name] = value


def _copy_group(old: h5py.Group, new: h5py.Group) -> None:
    _copy_attributes(old, new)
    for name in old:
        node = nodes.child(old, name, h5py.Group | h5py.Dataset)
        if isinstance(node, h5py.Group):
            _copy_group(node, new.create_group(name))
            continue
        nodes.dataset(old, name, node.dtype, node.ndim, filters=True)
        if node.dtype.hasobject:
            raise DataError(f"{node.name} holds objects; a store has none")
        if name == "values":
            chunk = value_chunk(node.shape[0], int(np.prod(node.shape[1:])) * node.dtype.itemsize)
            extent(new, name, node.shape, node.dtype, chunks=(chunk, *node.shape[1:]))
        elif int(np.prod(node.shape, dtype=object)) * node.dtype.itemsize > LARGEST_COLUMN:
            raise DataError(f"{node.name} claims {node.shape} values; no column is that large")
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

"""The arrays that a lhotse features manifest points to, read from below one folder and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.store.exchange.arrays import is_inside, read_array
from emofuse.store.exchange.records import NUMERIC_KINDS, Unusable, optional_library

LILCOM = ("lilcom_files", "lilcom_hdf5", "chunked_lilcom_hdf5", "lilcom_chunky")
"""Compressed storage types, read with lhotse itself."""
SMALLEST_VALUE = 1 / 64
"""Bytes that a value takes at least in a compressed storage."""


def read_values(features: Mapping[str, Any], root: Path) -> NDArray[Any] | Unusable:
    """The array [T, D] of a features record, checked against the shape that the record states."""
    kind, key = str(features["storage_type"]), features["storage_key"]
    if kind not in ("numpy_files", "numpy_hdf5", *LILCOM):
        # kaldiio may run commands, lilcom_url opens network connections, the memory types hold pickles
        return Unusable(
            reason=f"storage {kind!r} is not supported; copy the features to numpy_files or lilcom_chunky with lhotse"
        )
    if not isinstance(key, str):
        return Unusable(reason=f"storage_key is {str(key)[:40]!r}, expected text", damaged=True)
    path = _find(root, str(features["storage_path"]), key if kind.endswith("_files") else "")
    if isinstance(path, Unusable):
        return path
    shape = (int(features["num_frames"]), int(features["num_features"]))
    if kind == "numpy_files":
        array = read_array(path)
    elif kind == "numpy_hdf5":
        array = _read_hdf5(path, key, shape)
    elif math.prod(shape) * SMALLEST_VALUE > path.stat().st_size:
        return Unusable(reason=f"{path.name} has {path.stat().st_size} bytes, too few for {shape}", damaged=True)
    else:
        array = _read_lilcom(kind, path, key)
    if not isinstance(array, Unusable) and array.shape != shape:
        return Unusable(reason=f"the manifest says {shape}, {path.name} has {array.shape}", damaged=True)
    return array


def _find(root: Path, storage: str, key: str) -> Path | Unusable:
    """The file, below the source's folder or the current one (as lhotse does); it must lie in the source's folder."""
    candidates = [base / storage / key if key else base / storage for base in (root, Path.cwd())]
    files = [path for path in candidates if path.is_file()]
    if not files:
        return Unusable(reason=f"{storage}{f'/{key}' if key else ''} is missing below {root.name}")
    inside = [path for path in files if is_inside(root, path)]
    if not inside:
        return Unusable(reason=f"{storage} lies outside of {root.name}; name with --source the folder that holds both")
    return inside[0]


def _read_hdf5(path: Path, key: str, shape: tuple[int, int]) -> NDArray[Any] | Unusable:
    """An array of an HDF5 file, if the file itself really stores it."""
    try:
        with h5py.File(path, "r") as file:
            link = file.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                return Unusable(reason=f"{path.name} has no separate array {key!r}")
            data = file[key]
            if not isinstance(data, h5py.Dataset) or data.shape != shape or data.is_virtual or data.external:
                return Unusable(reason=f"{path.name}: {key!r} is not a plain array of {shape}", damaged=True)
            too_few = data.id.get_storage_size() < data.nbytes * SMALLEST_VALUE
            if data.dtype.kind not in NUMERIC_KINDS or too_few:
                reason = f"{path.name}: {key!r} claims {shape} {data.dtype}, too much for its bytes"
                return Unusable(reason=reason, damaged=True)
            return np.asarray(data[()])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        return Unusable(reason=f"{path.name} is damaged: {error}", damaged=True)


def _read_lilcom(kind: str, path: Path, key: str) -> NDArray[Any] | Unusable:
    optional_library("lilcom")
    reader = optional_library("lhotse.features.io").get_reader(kind)
    storage = path.parent if kind == "lilcom_files" else path
    try:
        return np.asarray(reader(str(storage)).read(path.name if kind == "lilcom_files" else key))
    except Exception as error:  # a C++ decoder, given untrusted bytes, may raise anything
        return Unusable(reason=f"{path.name} cannot be decoded: {error}", damaged=True)

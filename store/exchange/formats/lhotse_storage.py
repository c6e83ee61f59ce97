"""The arrays that a lhotse features manifest points to, read from below one folder and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.store.exchange.arrays import inside, read_array
from emofuse.store.exchange.registry import Bad, library

LILCOM = ("lilcom_files", "lilcom_hdf5", "chunked_lilcom_hdf5", "lilcom_chunky")
"""Compressed storages, read with lhotse itself."""
SMALLEST = 1 / 64
"""Bytes that a value takes at least in a compressed storage."""


def values_of(features: Mapping[str, Any], root: Path) -> NDArray[Any] | Bad:
    """The array [T, D] of a features record, checked against what the record says."""
    kind, key = str(features["storage_type"]), features["storage_key"]
    if kind not in ("numpy_files", "numpy_hdf5", *LILCOM):
        # kaldiio may run commands, lilcom_url goes to the network, the memory kinds hold pickles
        return Bad(why=f"storage {kind!r} is not read; copy the features to numpy_files or lilcom_chunky with lhotse")
    if not isinstance(key, str):
        return Bad(why=f"storage_key is {str(key)[:40]!r}, not a text", damaged=True)
    files = kind.endswith("_files")
    path = _find(root, str(features["storage_path"]), key if files else "")
    if isinstance(path, Bad):
        return path
    shape = (int(features["num_frames"]), int(features["num_features"]))
    if kind == "numpy_files":
        array = read_array(path)
    elif kind == "numpy_hdf5":
        array = _hdf5(path, key, shape)
    elif math.prod(shape) * SMALLEST > path.stat().st_size:
        return Bad(why=f"{path.name} has {path.stat().st_size} bytes, too few for {shape}", damaged=True)
    else:
        array = _lilcom(kind, path, key)
    if not isinstance(array, Bad) and array.shape != shape:
        return Bad(why=f"the manifest says {shape}, {path.name} has {array.shape}", damaged=True)
    return array


def _find(root: Path, storage: str, key: str) -> Path | Bad:
    """The file, where lhotse would look or below the source's folder; it must lie in that folder."""
    places = [base / storage / key if key else base / storage for base in (root, Path.cwd())]
    there = [p for p in places if p.is_file()]
    if not there:
        return Bad(
            why=f"{storage}/{key} is missing below {root.name}" if key else f"{storage} is missing below {root.name}"
        )
    sound = [p for p in there if inside(root, p)]
    if not sound:
        return Bad(why=f"{storage} lies outside of {root.name}; name with --source the folder that holds both")
    return sound[0]


def _hdf5(path: Path, key: str, shape: tuple[int, int]) -> NDArray[Any] | Bad:
    """An array of an HDF5 file, if it is really stored there."""
    try:
        with h5py.File(path, "r") as file:
            link = file.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                return Bad(why=f"{path.name} has no array {key!r} of its own")
            data = file[key]
            if not isinstance(data, h5py.Dataset) or data.shape != shape or data.is_virtual or data.external:
                return Bad(why=f"{path.name}: {key!r} is no plain array of {shape}", damaged=True)
            if data.dtype.kind not in "fiu" or data.id.get_storage_size() < data.nbytes * SMALLEST:
                return Bad(
                    why=f"{path.name}: {key!r} claims {shape} {data.dtype}, too much for its bytes", damaged=True
                )
            return np.asarray(data[()])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        return Bad(why=f"{path.name} is damaged: {error}", damaged=True)


def _lilcom(kind: str, path: Path, key: str) -> NDArray[Any] | Bad:
    library("lilcom")
    reader = library("lhotse.features.io").get_reader(kind)
    storage = path.parent if kind == "lilcom_files" else path
    try:
        return np.asarray(reader(str(storage)).read(path.name if kind == "lilcom_files" else key))
    except Exception as error:  # a decoder written in C++, fed with bytes from a stranger
        return Bad(why=f"{path.name} cannot be decoded: {error}", damaged=True)

"""Files that the looking verbs write beside stores: pictures and cards."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.disk import files
from emofuse.common.errors import UsageError
from emofuse.store.hdf5.file_types import is_hdf5


def put(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all.

    Raises:
        UsageError: There is a store (or another HDF5 file) of that name, or no folder to write into.
    """
    if is_hdf5(path):
        raise UsageError(f"{path} is an HDF5 file and stays; name another file to write to")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent} to write {path.name} into; make it first")
    files.put(path, content)

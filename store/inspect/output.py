"""Writes the output files of read-only commands: pictures and cards."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.disk.outputs import write_output
from emofuse.common.errors import UsageError
from emofuse.store.hdf5.file_types import is_hdf5


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, and folders on the way to it; never over a store.

    Raises:
        UsageError: The path is a store or another HDF5 file, or its folder cannot be created.
    """
    if is_hdf5(path):
        raise UsageError(f"{path} is an HDF5 file and is not overwritten; name another file to write to")
    write_output(path, content)

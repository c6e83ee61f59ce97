"""New HDF5 files: HDF5 writes into memory, and what it wrote goes to the disk once the disk has room for all of it.

HDF5 cannot bear a disk that fills up under it: it leaves half a file and ends the process with a segmentation fault.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from emofuse.common.system.interrupts import uninterrupted
from emofuse.store.hdf5.byte_source import pwrite

PAGE = 1 << 16


@contextlib.contextmanager
def new_hdf5_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to lay out; it is at `path`, synced, when the context ends, and not before.

    Raises:
        OSError: The disk has no room for it; the file may be there in part.
    """
    draft = MemoryFile()
    with uninterrupted(), h5py.File(draft, "w", libver=("v110", "v110")) as file:
        yield file
    draft.put(path)


class MemoryFile(io.RawIOBase):
    """A file in memory that holds the pages that were written; what lies between them takes no memory."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._at = self._length = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence] + offset
        return self._at

    def tell(self) -> int:
        """Where it stands."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self._length = self._at if size is None else size
        return self._length

    def write(self, data: Any) -> int:
        """Write at the place where it stands."""
        window = memoryview(data).cast("B")
        for page, first, part in self._parts(window):
            held = self._pages.setdefault(page, bytearray(PAGE))
            held[first : first + len(part)] = part
        self._at += len(window)
        self._length = max(self._length, self._at)
        return len(window)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; zeros where nothing was written."""
        window = memoryview(buffer).cast("B")
        for page, first, part in self._parts(window):
            held = self._pages.get(page)
            part[:] = bytes(len(part)) if held is None else held[first : first + len(part)]
        self._at += len(window)
        return len(window)

    def _parts(self, window: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        done = 0
        while done < len(window):
            page, first = divmod(self._at + done, PAGE)
            part = window[done : done + PAGE - first]
            yield page, first, part
            done += len(part)

    def put(self, path: Path) -> None:
        """Write it to the disk, which keeps room for every byte of it, and sync it."""
        with path.open("w+b") as file:
            reserve(path, file.fileno(), self._length)
            for page, held in self._pages.items():
                pwrite(file.fileno(), memoryview(held)[: max(0, self._length - page * PAGE)], page * PAGE)
            os.fsync(file.fileno())


def reserve(path: Path, descriptor: int, length: int) -> None:
    """Make a new file as long as `length`, and have the disk keep room for all of it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, length)
        return
    # macOS: no reservation, but a disk that is too small is still found before any work
    free = os.statvfs(path.parent)
    if free.f_bavail * free.f_frsize < length:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    os.ftruncate(descriptor, length)

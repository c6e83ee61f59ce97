"""Creates HDF5 files in memory first; they go to the disk once the disk has reserved space for all of their bytes.

Where a disk fills up while HDF5 writes to it, HDF5 leaves half a file and ends the process with a segmentation fault.
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

from emofuse.common.disk.positioned import pwrite
from emofuse.common.system.interrupts import uninterrupted

_PAGE_BYTES = 1 << 16


@contextlib.contextmanager
def new_hdf5_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to lay out. It is written to `path`, and synced, when the context ends, and not before.

    Raises:
        OSError: The disk has no space for it; an incomplete file may be left at `path`.
    """
    memory = MemoryFile()
    with uninterrupted(), h5py.File(memory, "w", libver=("v110", "v110")) as file:
        yield file
    memory.write_to(path)


class MemoryFile(io.RawIOBase):
    """A sparse file in memory: pages that were never written take no memory and read as zeros."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._position = self._length = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def writable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`; returns the position."""
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self._length = self._position if size is None else size
        return self._length

    def write(self, data: Any) -> int:
        """Write at the position."""
        window = memoryview(data).cast("B")
        for number, start, piece in self._pieces(window):
            page = self._pages.setdefault(number, bytearray(_PAGE_BYTES))
            page[start : start + len(piece)] = piece
        self._position += len(window)
        self._length = max(self._length, self._position)
        return len(window)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`."""
        window = memoryview(buffer).cast("B")
        for number, start, piece in self._pieces(window):
            page = self._pages.get(number)
            piece[:] = bytes(len(piece)) if page is None else page[start : start + len(piece)]
        self._position += len(window)
        return len(window)

    def _pieces(self, window: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """(page, offset in it, its piece of the window) of each page that a window at the position touches."""
        done = 0
        while done < len(window):
            number, start = divmod(self._position + done, _PAGE_BYTES)
            piece = window[done : done + _PAGE_BYTES - start]
            yield number, start, piece
            done += len(piece)

    def write_to(self, path: Path) -> None:
        """Write the file to the disk, which reserves space for every byte of it first, and sync it."""
        with path.open("w+b") as file:
            reserve(path, file.fileno(), self._length)
            for number, page in self._pages.items():
                start = number * _PAGE_BYTES
                pwrite(file.fileno(), memoryview(page)[: max(0, self._length - start)], start)
            os.fsync(file.fileno())


def reserve(path: Path, descriptor: int, length: int) -> None:
    """Make a new file `length` bytes long, and have the disk reserve space for all of them.

    Raises:
        OSError: The disk has no space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, length)
        return
    # macOS reserves nothing, but a disk that is too small is still found before any work.
    free = os.statvfs(path.parent)
    if free.f_bavail * free.f_frsize < length:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    os.ftruncate(descriptor, length)

"""Where a store's bytes come from: a local file, read at given offsets (remote files: `remote.py`).

A source has no read position, so threads and forked workers may read from one at the same time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from emofuse.common.disk.positioned import pwrite, read_into
from emofuse.common.errors import DataError, UsageError
from emofuse.store.hdf5.block_cache import BlockCache

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
GROUP_BYTES = 1 << 26
"""Bytes that are copied, or requested in parallel ranges, at once."""
_NO_COPY_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of a system that cannot copy between two files itself."""
_BLOCK_BYTES, _MOST_BLOCKS = 1 << 16, 64
"""Blocks of metadata that are read at once, and kept."""


class ByteSource(Protocol):
    """A file of known length that is read at given offsets."""

    name: str
    length: int
    """Bytes of the file when it was opened."""
    metadata: BlockCache
    """Serves small reads, for HDF5's own structures; never for what a writer may change (marks and values)."""

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the start of `window` from `offset`; returns the number of bytes, 0 at the end of the file."""
        ...

    def fill(self, windows: Sequence[tuple[memoryview, int]]) -> Iterator[memoryview]:
        """Fill each window from its offset, and yield it when it is full.

        Raises:
            DataError: The file ends before.
        """
        ...

    def copy_to(self, descriptor: int, start: int, to: int, count: int) -> None:
        """Copy `count` bytes from `start` into an open file at `to`.

        Raises:
            DataError: The file ends before.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class LocalFile:
    """A file on a disk. It stays the file that was opened when another one takes its path.

    Raises:
        UsageError: No file there, or a folder.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a store; name a file in it, such as {path / 'iemocap.h5'}")
        if not path.is_file():
            raise UsageError(f"no store at {path}; make one: extract --dataset NAME --encoder NAME --store {path}")
        self.name = str(path)
        self.descriptor = os.open(path, _READ)
        self.length = os.fstat(self.descriptor).st_size
        self.metadata = BlockCache(self._fetch, self.length, _BLOCK_BYTES, _MOST_BLOCKS)

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the start of `window` from `offset`."""
        return read_into(self.descriptor, window, offset)

    def fill(self, windows: Sequence[tuple[memoryview, int]]) -> Iterator[memoryview]:
        """Fill the windows one by one, so that the caller's checksum finds each in the processor's cache."""
        for window, offset in windows:
            read_whole(self, window, offset)
            yield window

    def copy_to(self, descriptor: int, start: int, to: int, count: int) -> None:
        """Copy inside the kernel where possible (some file systems then share the bytes), else through a buffer."""
        done = 0
        while done < count:
            step = min(count - done, GROUP_BYTES)
            try:
                moved = os.copy_file_range(self.descriptor, descriptor, step, start + done, to + done)
            except (AttributeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _NO_COPY_RANGE:
                    raise
                copy_through_memory(self, descriptor, start + done, to + done, count - done)
                return
            if not moved:
                raise DataError(f"{self.name} ends at byte {start + done}: it was cut short")
            done += moved

    def _fetch(self, start: int, end: int) -> bytes:
        buffer = bytearray(end - start)
        read_whole(self, memoryview(buffer), start)
        return bytes(buffer)

    def close(self) -> None:
        """Close the file."""
        self.metadata.clear()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def copy_through_memory(source: ByteSource, descriptor: int, start: int, to: int, count: int) -> None:
    """Copy `count` bytes from `start` into an open file at `to`, through a buffer."""
    buffer = bytearray(min(count, GROUP_BYTES))
    for done in range(0, count, GROUP_BYTES):
        window = memoryview(buffer)[: min(GROUP_BYTES, count - done)]
        read_whole(source, window, start + done)
        pwrite(descriptor, window, to + done)


def read_whole(source: ByteSource, window: memoryview, offset: int) -> None:
    """Fill a window from `offset`.

    Raises:
        DataError: The file ends before; a window is never padded with zeros.
    """
    done = 0
    while done < len(window):
        got = source.read_into(window[done:], offset + done)
        if not got:
            raise DataError(
                f"the file ends at byte {offset + done}, {len(window) - done} bytes early: it was cut short"
            )
        done += got

"""Where a store's bytes come from: a local file by positioned reads (a remote one: `remote.py`).

Neither has a position of its own, so threads and forked workers may read from one at the same time.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from emofuse.common.errors import DataError, UsageError

NO_COPY_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a system says that cannot copy between two files by itself."""
GROUP = 1 << 26
"""Bytes of values that are asked for at once, in parallel ranges."""


class ByteSource(Protocol):
    """A file of known length that is read by position."""

    name: str
    length: int

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the beginning of `window` from `offset`; the number of bytes, 0 at the end."""
        ...

    def fill(self, windows: Sequence[tuple[memoryview, int]]) -> Iterator[memoryview]:
        """Fill each window from its offset, and give it when it is full.

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
        """Let go of it."""
        ...


class LocalFile:
    """A file on a disk; stays the same file when another is put in its place."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a store; name a file in it, such as {path / 'iemocap.h5'}")
        if not path.is_file():
            raise UsageError(f"no store at {path}; make one: extract --dataset NAME --encoder NAME --store {path}")
        self.name = str(path)
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.length = os.fstat(self.descriptor).st_size

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the beginning of `window` from `offset`."""
        return os.preadv(self.descriptor, [window], offset)

    def fill(self, windows: Sequence[tuple[memoryview, int]]) -> Iterator[memoryview]:
        """Fill the windows one by one, so that whoever looks at one finds it in the processor's cache."""
        for window, offset in windows:
            read_whole(self, window, offset)
            yield window

    def copy_to(self, descriptor: int, start: int, to: int, count: int) -> None:
        """Copy bytes inside the kernel where it can (some file systems then share them), else through a buffer."""
        done = 0
        while done < count:
            step = min(count - done, GROUP)
            try:
                moved = os.copy_file_range(self.descriptor, descriptor, step, start + done, to + done)
            except (AttributeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in NO_COPY_RANGE:
                    raise
                copy_through_memory(self, descriptor, start + done, to + done, count - done)
                return
            if not moved:
                raise DataError(f"{self.name} ends at byte {start + done}: it was cut short")
            done += moved

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def copy_through_memory(source: ByteSource, descriptor: int, start: int, to: int, count: int) -> None:
    """Copy `count` bytes from `start` into an open file at `to`, some at a time."""
    buffer = bytearray(min(count, GROUP))
    for done in range(0, count, GROUP):
        window = memoryview(buffer)[: min(GROUP, count - done)]
        read_whole(source, window, start + done)
        pwrite(descriptor, window, to + done)


def pwrite(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    view, done = memoryview(data), 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)


def read_whole(source: ByteSource, window: memoryview, offset: int) -> None:
    """Fill a window from `offset`.

    Raises:
        DataError: The file ends before; never zeros.
    """
    done = 0
    while done < len(window):
        got = source.read_into(window[done:], offset + done)
        if not got:
            raise DataError(
                f"the file ends at byte {offset + done}, {len(window) - done} bytes early: it was cut short"
            )
        done += got


class ByteStream(io.RawIOBase):
    """A byte source as the file object that HDF5 reads; each has a position of its own."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.length}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where it stands."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; a file that ends before is an error, which HDF5 passes on."""
        window = memoryview(buffer).cast("B")
        read_whole(self._source, window, self._at)
        self._at += len(window)
        return len(window)

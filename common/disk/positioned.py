"""Reads and writes at an offset of an open file, also on systems without `os.pread` and `os.pwrite` (Windows)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Without positioned calls, seeking and reading must not be interleaved with those of another thread.
_seeking = threading.Lock()


def pread(descriptor: int, count: int, offset: int) -> bytes:
    """At most `count` bytes from `offset`; fewer at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    with _seeking, _position_kept(descriptor):
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)


def read_into(descriptor: int, window: memoryview, offset: int) -> int:
    """Fill the start of `window` from `offset`; gives the number of bytes, 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [window], offset)
    content = pread(descriptor, len(window), offset)
    window[: len(content)] = content
    return len(content)


def pwrite(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    view, done = memoryview(data), 0
    while done < len(view):
        done += _write_some(descriptor, view[done:], offset + done)


def _write_some(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, view, offset)
    with _seeking, _position_kept(descriptor):
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, view)


@contextmanager
def _position_kept(descriptor: int) -> Iterator[None]:
    """Positioned calls leave the file's position as it is, and so do their substitutes."""
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        yield
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)

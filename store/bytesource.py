"""Where a store's bytes come from: a local file by positioned reads, or a remote one by ranges over fsspec.

Neither has a position of its own, so threads and forked workers may read from one at the same time.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

from emofuse.common.errors import DataError, UsageError

Location = Path | str
"""A path, or a URL such as `s3://bucket/iemocap.h5`."""
BLOCK = 1 << 18
"""Bytes that are fetched at once of a remote store's metadata."""
BLOCKS = 64
REMOTE = "://"


class ByteSource(Protocol):
    """A file of known length that is read by position."""

    length: int

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the beginning of `window` from `offset`; the number of bytes, 0 at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def location(words: Location) -> Location:
    """A path, or a URL as it is."""
    return words if isinstance(words, str) and REMOTE in words else Path(words)


def open_source(where: Location) -> ByteSource:
    """Open a path or a URL.

    Raises:
        UsageError: Nothing there, no regular file, or fsspec (or what it needs for this kind of URL) is not installed.
    """
    return LocalFile(where) if isinstance(where, Path) else RemoteFile(where)


class LocalFile:
    """A file on a disk; stays the same file when another is put in its place."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a store; name a file in it, such as {path / 'iemocap.h5'}")
        if not path.is_file():
            raise UsageError(f"no store at {path}; make one: extract --dataset NAME --encoder NAME --store {path}")
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.length = os.fstat(self.descriptor).st_size

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the beginning of `window` from `offset`."""
        return os.preadv(self.descriptor, [window], offset)

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class RemoteFile:
    """A file behind a URL, by range requests; small ones come from blocks that are kept.

    That it stays the same file is the checksums' business: an object that is replaced meanwhile fails them.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ModuleNotFoundError:
            raise UsageError(f"reading {url} needs fsspec: pip install 'emofuse[remote]'") from None
        self.url = url
        try:
            self._system, self._path = fsspec.core.url_to_fs(url)
            found = self._system.info(self._path)
        except (FileNotFoundError, IsADirectoryError):
            raise UsageError(f"no store at {url}") from None
        except (ImportError, ValueError) as error:  # a protocol that nobody knows, or whose library is absent
            raise UsageError(f"{url} cannot be opened: {error}") from None
        except Exception as error:
            raise DataError(f"{url} cannot be opened: {type(error).__name__}: {error}") from None
        if found.get("type") == "directory" or not isinstance(found.get("size"), int):
            raise UsageError(f"{url} is no file of known length; range requests need one")
        self.length = int(found["size"])
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the beginning of `window` from `offset`."""
        end = min(offset + len(window), self.length)
        if offset >= end:
            return 0
        if end - offset > BLOCK:
            data = self._fetch(offset, end)
        else:
            first = offset // BLOCK
            data = b"".join(self._block(i) for i in range(first, (end - 1) // BLOCK + 1))
            data = data[offset - first * BLOCK : end - first * BLOCK]
        window[: len(data)] = data
        return len(data)

    def _block(self, number: int) -> bytes:
        held = self._blocks.get(number)
        if held is None:
            held = self._fetch(number * BLOCK, min((number + 1) * BLOCK, self.length))
            self._blocks[number] = held
            if len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)
        return held

    def _fetch(self, start: int, end: int) -> bytes:
        try:
            return bytes(self._system.cat_file(self._path, start=start, end=end))
        except Exception as error:
            raise DataError(f"{self.url}: reading bytes {start} to {end} failed: {error}") from None

    def close(self) -> None:
        """Forget what was fetched."""
        self._blocks.clear()


class Stream(io.RawIOBase):
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
        window, done = memoryview(buffer).cast("B"), 0
        while done < len(window):
            got = self._source.read_into(window[done:], self._at)
            if not got:
                raise OSError(f"the file ends at byte {self._at}, {len(window) - done} bytes early")
            done += got
            self._at += got
        return done

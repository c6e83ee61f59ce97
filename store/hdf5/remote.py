"""A store behind a URL, read by ranges over fsspec."""

from __future__ import annotations

import bisect
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Location
from emofuse.store.hdf5.byte_source import GROUP, ByteSource, LocalFile, copy_through_memory

BLOCK = 1 << 18
"""Bytes that are fetched at once of a remote store's metadata."""
BLOCKS = 64


def open_source(where: Location) -> ByteSource:
    """Open a path or a URL.

    Raises:
        UsageError: Nothing there, no regular file, or fsspec (or what it needs for this kind of URL) is not installed.
    """
    return LocalFile(where) if isinstance(where, Path) else RemoteFile(where)


class RemoteFile:
    """A file behind a URL, by range requests; small ones come from blocks that are kept.

    An object that is replaced meanwhile fails the checksums, which a finished feature keeps from when it was opened.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ModuleNotFoundError:
            raise UsageError(f"reading {url} needs fsspec: pip install 'emofuse[remote]'") from None
        self.name = url
        try:
            self._system, self._path = fsspec.core.url_to_fs(url)
            self._process = os.getpid()
            found = self._system.info(self._path)
        except (FileNotFoundError, IsADirectoryError):
            raise UsageError(f"no store at {url}, or nobody answers there") from None
        except ImportError as error:
            more = "pip install 'emofuse[remote]' (and s3fs for s3://, gcsfs for gs://)"
            raise UsageError(f"{url} cannot be opened: {error}; {more}") from None
        except ValueError as error:  # a protocol that nobody knows
            raise UsageError(f"{url} cannot be opened: {error}") from None
        except Exception as error:
            raise DataError(f"{url} cannot be opened: {type(error).__name__}: {error}") from None
        if found.get("type") == "directory" or not isinstance(found.get("size"), int):
            raise UsageError(f"{url} is no file of known length; range requests need one")
        self.length = int(found["size"])
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    @property
    def _here(self) -> Any:
        """The file system of this process: many keep threads and connections, which a fork does not take along."""
        if self._process != os.getpid():
            import fsspec

            self._system, self._path = fsspec.core.url_to_fs(self.name, skip_instance_cache=True)
            self._process = os.getpid()
        return self._system

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

    def fill(self, windows: Sequence[tuple[memoryview, int]]) -> Iterator[memoryview]:
        """Fill the windows by parallel ranges, neighbours in one."""
        for group in _groups(windows):
            spans = _spans([(start, start + len(window)) for window, start in group])
            paths, starts, ends = [self._path] * len(spans), [a for a, _ in spans], [b for _, b in spans]
            try:
                found = self._here.cat_ranges(paths, starts, ends, on_error="raise")
            except Exception as error:
                raise DataError(f"{self.name}: reading bytes {starts[0]} to {ends[-1]} failed: {error!r}") from None
            for data, start, end in zip(found, starts, ends, strict=True):
                self._whole(data, start, end)
            for window, start in group:
                at = bisect.bisect_right(starts, start) - 1
                window[:] = found[at][start - starts[at] :][: len(window)]
                yield window

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
            data = bytes(self._here.cat_file(self._path, start=start, end=end))
        except Exception as error:
            raise DataError(f"{self.name}: reading bytes {start} to {end} failed: {error!r}") from None
        self._whole(data, start, end)
        return data

    def _whole(self, data: bytes, start: int, end: int) -> None:
        if len(data) != end - start:
            raise DataError(
                f"{self.name}: {len(data)} bytes came where {end - start} were asked for; the server knows no ranges, "
                "or the file was replaced: download it, or open it again"
            )

    def copy_to(self, descriptor: int, start: int, to: int, count: int) -> None:
        """Copy bytes, some at a time."""
        copy_through_memory(self, descriptor, start, to, count)

    def close(self) -> None:
        """Forget what was fetched."""
        self._blocks.clear()


def _spans(windows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that cover all windows, in order; neighbours with a small gap share one."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if spans and start <= spans[-1][1] + BLOCK:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _groups(windows: Sequence[tuple[memoryview, int]]) -> Iterator[list[tuple[memoryview, int]]]:
    held: list[tuple[memoryview, int]] = []
    size = 0
    for window, offset in windows:
        if held and size + len(window) > GROUP:
            yield held
            held, size = [], 0
        held.append((window, offset))
        size += len(window)
    if held:
        yield held

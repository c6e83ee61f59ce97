"""A store behind a URL, read by range requests over fsspec."""

from __future__ import annotations

import bisect
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Location, Url
from emofuse.common.redaction import redacted
from emofuse.store.hdf5.block_cache import BlockCache
from emofuse.store.hdf5.byte_source import GROUP_BYTES, ByteSource, LocalFile, copy_through_memory
from emofuse.store.hdf5.remote_requests import http_options, requested

_BLOCK_BYTES, _MOST_BLOCKS = 1 << 18, 64
"""Blocks that are requested at once for small reads, and kept."""


def open_source(where: Location) -> ByteSource:
    """Open a path or a URL.

    Raises:
        UsageError: No file there, or a folder, or fsspec (or its package for this kind of URL) is not installed.
    """
    return LocalFile(where) if isinstance(where, Path) else RemoteFile(where)


class RemoteFile:
    """A file behind a URL. Small reads come from blocks that are kept.

    If the object is replaced meanwhile, its values fail the checksums that a complete feature read when it was opened.

    Raises:
        UsageError: No file of known length there, or fsspec (or its package for this kind of URL) is not installed.
        DataError: The file system failed.
    """

    def __init__(self, url: Url) -> None:
        try:
            import fsspec
        except ModuleNotFoundError:
            raise UsageError(f"reading {url} needs fsspec: pip install 'emofuse[remote]'") from None
        self.name, self._url = str(url), url
        try:
            self._system, self._path = fsspec.core.url_to_fs(url.with_credentials, **http_options(url))
        except ImportError as error:
            remedy = "pip install 'emofuse[remote]' (and s3fs for s3://, gcsfs for gs://)"
            raise UsageError(f"{url} cannot be opened: {redacted(str(error))}; {remedy}") from None
        except ValueError as error:  # a protocol that fsspec does not know
            raise UsageError(f"{url} cannot be opened: {redacted(str(error))}") from None
        self._process = os.getpid()
        info = self._request("its size", lambda **limit: self._system.info(self._path, **limit))
        if info.get("type") == "directory" or not isinstance(info.get("size"), int):
            raise UsageError(f"{url} is not a file of known length; range requests need one")
        self.length = int(info["size"])
        self.metadata = BlockCache(self._fetch, self.length, _BLOCK_BYTES, _MOST_BLOCKS)

    @property
    def _file_system(self) -> Any:
        """The file system of this process: many have threads and connections, which a fork does not copy."""
        if self._process != os.getpid():
            import fsspec

            self._system, self._path = fsspec.core.url_to_fs(
                self._url.with_credentials, skip_instance_cache=True, **http_options(self._url)
            )
            self._process = os.getpid()
        return self._system

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the start of `window` from `offset`."""
        count = max(0, min(len(window), self.length - offset))
        window[:count] = self.metadata.read(offset, count) if count else b""
        return count

    def fill(self, windows: Sequence[tuple[memoryview, int]]) -> Iterator[memoryview]:
        """Fill the windows by parallel range requests, one for windows that are close together."""
        for group in _groups(windows):
            spans = _spans([(start, start + len(window)) for window, start in group])
            paths, starts, ends = [self._path] * len(spans), [a for a, _ in spans], [b for _, b in spans]
            ranges = functools.partial(self._file_system.cat_ranges, paths, starts, ends, on_error="raise")
            fetched = self._request(f"bytes {starts[0]} to {ends[-1]}", ranges, sum(b - a for a, b in spans))
            for data, start, end in zip(fetched, starts, ends, strict=True):
                self._check_length(data, start, end)
            for window, start in group:
                span = bisect.bisect_right(starts, start) - 1
                window[:] = fetched[span][start - starts[span] :][: len(window)]
                yield window

    def copy_to(self, descriptor: int, start: int, to: int, count: int) -> None:
        """Copy `count` bytes from `start` into an open file at `to`, through a buffer."""
        copy_through_memory(self, descriptor, start, to, count)

    def close(self) -> None:
        """Free the blocks."""
        self.metadata.clear()

    def _fetch(self, start: int, end: int) -> bytes:
        one = functools.partial(self._file_system.cat_file, self._path, start=start, end=end)
        data = bytes(self._request(f"bytes {start} to {end}", one, end - start))
        self._check_length(data, start, end)
        return data

    def _request(self, what: str, call: Callable[..., Any], count: int = 0) -> Any:
        return requested(self._url, what, call, total=bool(getattr(self._system, "async_impl", False)), count=count)

    def _check_length(self, data: bytes, start: int, end: int) -> None:
        if len(data) != end - start:
            raise DataError(
                f"{self.name}: {len(data)} bytes came where {end - start} were requested; the server does not support "
                "range requests, or the file was replaced: download it, or open it again"
            )


def _spans(windows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges (start, end) that cover all windows, in order; neighbours with a small gap share one."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if spans and start <= spans[-1][1] + _BLOCK_BYTES:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _groups(windows: Sequence[tuple[memoryview, int]]) -> Iterator[list[tuple[memoryview, int]]]:
    """The windows in lists of about `GROUP_BYTES` bytes."""
    group: list[tuple[memoryview, int]] = []
    size = 0
    for window, offset in windows:
        if group and size + len(window) > GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append((window, offset))
        size += len(window)
    if group:
        yield group

"""Small reads of an HDF5 file, served from whole blocks: a store's metadata are many short pieces close together."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from emofuse.common.errors import DataError


class BlockCache:
    """Blocks of a file, each fetched once while it is among the last `most_blocks` used.

    Several threads may share one: at worst they fetch the same block twice.

    Args:
        fetch: (start, end) -> these bytes of the file; raises `DataError` where the file ends before.
        length: Bytes of the file.
        block_bytes: Bytes that are fetched at once. Longer reads are not cached.
        most_blocks: Blocks that are kept.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], length: int, block_bytes: int, most_blocks: int) -> None:
        self.length = length
        self._fetch, self._block_bytes, self._most_blocks = fetch, block_bytes, most_blocks
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, count: int) -> bytes:
        """The `count` bytes at `offset`.

        Raises:
            DataError: The file ends before.
        """
        end = offset + count
        if not 0 <= offset <= end <= self.length:
            raise DataError(f"it ends at byte {self.length}, its metadata reach to byte {end}")
        if end - offset > self._block_bytes:
            return self._fetch(offset, end)
        number, start = divmod(offset, self._block_bytes)
        block = self._blocks.get(number) or self._load(number)
        data = block[start : start + end - offset]
        if len(data) < end - offset:
            following = self._blocks.get(number + 1) or self._load(number + 1)
            data += following[: end - offset - len(data)]
        return data

    def clear(self) -> None:
        """Free the blocks."""
        self._blocks.clear()

    def _load(self, number: int) -> bytes:
        start = number * self._block_bytes
        block = self._fetch(start, min(start + self._block_bytes, self.length))
        self._blocks[number] = block
        if len(self._blocks) > self._most_blocks:
            self._blocks.popitem(last=False)
        return block


class Hdf5Stream(io.RawIOBase):
    """A block cache as the file object that HDF5 reads through; each stream has its own position."""

    def __init__(self, cache: BlockCache) -> None:
        self._cache, self._position = cache, 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`; returns the position."""
        if whence != os.SEEK_SET:
            offset += self._cache.length if whence == os.SEEK_END else self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`.

        Raises:
            DataError: The file ends before; HDF5 passes it on.
        """
        window = memoryview(buffer).cast("B")
        window[:] = self._cache.read(self._position, len(window))
        self._position += len(window)
        return len(window)

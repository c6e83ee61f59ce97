"""HDF5's fractal heaps of links and attributes, and the B-trees that list them; part of `guard.py`."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emofuse.common.errors import DataError
from emofuse.store.hdf5.block_cache import BlockCache

UNDEFINED = (1 << 64) - 1
"""The address of what does not exist."""
_NODE_BYTES, _MOST_DEPTH = 512, 2
_TABLE_WIDTH, _MOST_BLOCK_BYTES, _MOST_OBJECT_BYTES = 4, 1 << 16, 4096


@dataclass(frozen=True, slots=True)
class HeapKind:
    """How HDF5 lays out one kind of heap and its tree."""

    id_bytes: int
    offset_bits: int
    """Bits of an offset in the heap."""
    first_block: int
    """Bytes of the first block."""
    tree_type: int
    record_bytes: int
    id_position: int
    """Where a record of the tree has the heap id."""


LINKS = HeapKind(id_bytes=7, offset_bits=32, first_block=512, tree_type=5, record_bytes=11, id_position=4)
ATTRIBUTES = HeapKind(id_bytes=8, offset_bits=40, first_block=1024, tree_type=8, record_bytes=17, id_position=0)


class FractalHeap:
    """A fractal heap with one root block, or one root table of blocks.

    Raises:
        DataError: It is not as HDF5 writes it.
    """

    def __init__(self, metadata: BlockCache, address: int, kind: HeapKind) -> None:
        self._metadata, self._address, self._kind = metadata, address, kind
        header = struct.unpack("<4sBHHBIQQQQQQQQQQQQHQQHHQH", metadata.read(address, 142))
        signature, version, id_bytes, filters, _, most_object_bytes, next_huge, huge_tree = header[:8]
        self._object_count, huge, tiny = header[13], header[14:16], header[16:18]
        width, first_block, most_block, offset_bits, _, root, rows = header[18:]
        if (
            (signature, version, id_bytes, filters) != (b"FRHP", 0, kind.id_bytes, 0)
            or (next_huge, huge_tree, huge, tiny) != (0, UNDEFINED, (0, 0), (0, 0))
            or (width, first_block, most_block) != (_TABLE_WIDTH, kind.first_block, _MOST_BLOCK_BYTES)
            or (offset_bits, most_object_bytes) != (kind.offset_bits, _MOST_OBJECT_BYTES)
        ):
            raise DataError("a heap of links or attributes is not as HDF5 writes it")
        self._head_bytes = 13 + kind.offset_bits // 8
        """Bytes before the content of a block or table."""
        self._blocks: dict[int, bytes] = {}
        """Offset in the heap -> a block."""
        if rows:
            self._read_table(root, rows)
        else:
            self._read_block(root, 0, first_block)

    def _read_table(self, root: int, rows: int) -> None:
        if rows >= 20 or self._kind.first_block << max(0, rows - 2) > _MOST_BLOCK_BYTES:
            raise DataError("a heap of links or attributes is larger than in any store")
        data = self._metadata.read(root, self._head_bytes + 8 * _TABLE_WIDTH * rows)
        if not self._is_owner(data, b"FHIB\0") or any(data[13 : self._head_bytes]):
            raise DataError("a heap of links or attributes has a damaged table")
        offset = 0
        for number, (address,) in enumerate(struct.iter_unpack("<Q", data[self._head_bytes :])):
            size = self._kind.first_block << max(0, number // _TABLE_WIDTH - 1)
            if address != UNDEFINED:
                self._read_block(address, offset, size)
            offset += size

    def _read_block(self, address: int, offset: int, size: int) -> None:
        data = self._metadata.read(address, size)
        if not self._is_owner(data, b"FHDB\0") or int.from_bytes(data[13 : self._head_bytes], "little") != offset:
            raise DataError("a heap of links or attributes has a damaged block")
        self._blocks[offset] = data

    def _is_owner(self, data: bytes, signature: bytes) -> bool:
        return data[:5] == signature and int.from_bytes(data[5:13], "little") == self._address

    def objects(self, tree: int) -> Iterator[bytes]:
        """The objects that the tree at this address lists: link or attribute messages.

        Raises:
            DataError: The tree is not as HDF5 writes it, or does not match the heap.
        """
        kind = self._kind
        header = struct.unpack("<4sBBIHHBBQHQ", self._metadata.read(tree, 38)[:34])
        depth, root, root_count, total = header[5], *header[8:]
        expected = (b"BTHD", 0, kind.tree_type, _NODE_BYTES, kind.record_bytes, 100, 40)
        if header[:5] + header[6:8] != expected or depth > _MOST_DEPTH:
            raise DataError("a tree of links or attributes is not as HDF5 writes it")
        if total != self._object_count:
            raise DataError("a tree of links or attributes lists other objects than its heap holds")
        records = [*self._records(root, root_count, depth)] if total else []
        if len(records) != total:
            raise DataError(f"a tree of links or attributes lists {len(records)} objects and declares {total}")
        for record in records:
            if kind is ATTRIBUTES and record[8]:
                raise DataError("an attribute is shared with other objects; a store has no such attribute")
            yield self._object(record[kind.id_position : kind.id_position + kind.id_bytes])

    def _records(self, address: int, count: int, depth: int) -> Iterator[bytes]:
        """The records of a node and of the nodes below it."""
        data, width = self._metadata.read(address, _NODE_BYTES), self._kind.record_bytes
        node_records, subtree_records = _capacities(width)
        signature = (b"BTIN" if depth else b"BTLF") + bytes([0, self._kind.tree_type])
        if data[:6] != signature or not 0 < count <= node_records[depth]:
            raise DataError("a tree of links or attributes has a damaged node")
        yield from (data[6 + i * width : 6 + (i + 1) * width] for i in range(count))
        if not depth:
            return
        position, count_bytes = 6 + count * width, _bytes_for(node_records[0])
        total_bytes = _bytes_for(subtree_records[depth - 1]) if depth > 1 else 0
        for _ in range(count + 1):
            child = int.from_bytes(data[position : position + 8], "little")
            child_count = int.from_bytes(data[position + 8 : position + 8 + count_bytes], "little")
            position += 8 + count_bytes + total_bytes
            yield from self._records(child, child_count, depth - 1)

    def _object(self, heap_id: bytes) -> bytes:
        offset_bytes = self._kind.offset_bits // 8
        offset = int.from_bytes(heap_id[1 : 1 + offset_bytes], "little")
        length = int.from_bytes(heap_id[1 + offset_bytes :], "little")
        block = max((start for start in self._blocks if start <= offset), default=None)
        if heap_id[0] or block is None:
            raise DataError("a tree of links or attributes points to nothing")
        start, data = offset - block, self._blocks[block]
        if not length or start < self._head_bytes or start + length > len(data):
            raise DataError("a tree of links or attributes points past its heap")
        return data[start : start + length]


@functools.cache
def _capacities(record_bytes: int) -> tuple[Sequence[int], Sequence[int]]:
    """Most records of a node of each depth, and of the tree below and including it."""
    content_bytes = _NODE_BYTES - 10
    node_records = [content_bytes // record_bytes]
    subtree_records = [node_records[0]]
    for depth in range(1, _MOST_DEPTH + 1):
        pointer_bytes = 8 + _bytes_for(node_records[0]) + (_bytes_for(subtree_records[-1]) if depth > 1 else 0)
        records = (content_bytes - pointer_bytes) // (record_bytes + pointer_bytes)
        node_records.append(records)
        subtree_records.append((records + 1) * subtree_records[-1] + records)
    return node_records, subtree_records


def _bytes_for(largest: int) -> int:
    """Bytes that hold any number up to `largest`."""
    return (largest.bit_length() + 7) // 8

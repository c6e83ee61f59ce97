"""Looks at the heaps and trees in which HDF5 keeps many links or attributes, before HDF5 does.

HDF5 crashes or runs in circles over such structures where somebody has damaged them with care (their checksums right):
one of 25 such files did, with 2.0.0. What HDF5 itself writes is of one kind, and whatever else is refused here. Object
headers alone it reads well (5000 mutated ones: no crash).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from emofuse.common.errors import DataError
from emofuse.store.hdf5.byte_source import ByteSource, read_whole

NOWHERE = (1 << 64) - 1
LINK_INFO, LINK, CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 0x02, 0x06, 0x10, 0x11, 0x15
NODE, DEEPEST, MOST_CHUNKS, WIDTH, LARGEST_BLOCK = 512, 2, 64, 4, 1 << 16


@dataclass(frozen=True, slots=True)
class HeapKind:
    """How HDF5 lays out one kind of heap and tree."""

    id_bytes: int
    bits: int
    first_block: int
    tree: int
    record: int
    id_at: int
    """Where the heap's id stands in a record."""


LINKS = HeapKind(id_bytes=7, bits=32, first_block=512, tree=5, record=11, id_at=4)
ATTRIBUTES = HeapKind(id_bytes=8, bits=40, first_block=1024, tree=8, record=17, id_at=0)


def refuse_unexpected_structures(source: ByteSource) -> None:
    """Look at all groups of a store that HDF5 will be asked for.

    Raises:
        DataError: A heap or tree is not as HDF5 writes it.
    """
    beginning = _read(source, 0, 48)
    if beginning[8] not in (2, 3):
        return  # an older kind of file, without heaps and trees of this kind; other checks refuse or repack it
    if beginning[9:11] != b"\x08\x08" or beginning[12:20] != bytes(8):
        raise DataError("its addresses are of an unusual kind")
    root = _links(source, int.from_bytes(beginning[36:44], "little"))
    for name in ("manifest", "features"):
        if name in root:
            inner = _links(source, root[name])
            for child, address in inner.items():
                if name == "features" or child == "excluded":
                    _links(source, address)


def _links(source: ByteSource, address: int) -> Mapping[str, int]:
    """The hard links of a group, by name; its attributes are looked at too."""
    if _read(source, address, 4) != b"OHDR":
        return {}
    raw, heaps = [], {}
    for kind, data in _messages(source, address):
        if kind == SYMBOL_TABLE:
            raise DataError("a group of the old kind stands in a header of the new kind")
        if kind == LINK:
            raw.append(data)
        elif kind in (LINK_INFO, ATTRIBUTE_INFO):
            if kind in heaps:
                raise DataError("a header has two tables of links or attributes")
            heaps[kind] = _table(kind, data)
    for kind, (heap, tree) in heaps.items():
        if heap != NOWHERE or tree != NOWHERE:
            found = [*_Heap(source, heap, LINKS if kind == LINK_INFO else ATTRIBUTES).objects(tree)]
            raw += found if kind == LINK_INFO else []
    names = [_link(data) for data in raw]
    if len({name for name, _ in names}) != len(names):
        raise DataError("two links have one name")
    return {name: there for name, there in names if there is not None}


def _read(source: ByteSource, address: int, count: int) -> bytes:
    if address + count > source.length:
        raise DataError(f"its metadata reach past the end of the file, to byte {address + count}")
    buffer = bytearray(count)
    read_whole(source, memoryview(buffer), address)
    return bytes(buffer)


def _messages(source: ByteSource, address: int) -> Iterator[tuple[int, bytes]]:
    """The messages of an object header of version 2."""
    prefix = _read(source, address, min(48, source.length - address))
    flags, at = prefix[5], 6
    at += 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    width = 1 << (flags & 3)
    size = int.from_bytes(prefix[at : at + width], "little")
    waiting, chunks = [(address + at + width, size)], 0
    while waiting:
        first, size = waiting.pop()
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise DataError("an object header goes on for ever")
        data, at, head = _read(source, first, size), 0, 4 + 2 * bool(flags & 4)
        while at + head <= len(data):
            kind, length = data[at], int.from_bytes(data[at + 1 : at + 3], "little")
            body = data[at + head : at + head + length]
            if kind == CONTINUATION and len(body) >= 16:
                there, count = struct.unpack_from("<QQ", body)
                waiting.append((there + 4, max(0, count - 8)))  # without signature and checksum
            yield kind, body
            at += head + length


def _table(kind: int, data: bytes) -> tuple[int, int]:
    """Addresses of heap and tree."""
    at = 2 + (data[1] & 1) * (8 if kind == LINK_INFO else 2) if len(data) > 1 else 0
    if len(data) < at + 16 or data[1] & 2:
        raise DataError("a table of links or attributes is cut short, or lists them in the order of their creation")
    heap, tree = struct.unpack_from("<QQ", data, at)
    return heap, tree


def _link(data: bytes) -> tuple[str, int | None]:
    """Name of a link, and where it leads in the file; none: elsewhere."""
    try:
        flags, at = data[1], 2
        kind = data[at] if flags & 8 else 0
        at += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
        width = 1 << (flags & 3)
        length = int.from_bytes(data[at : at + width], "little")
        name = data[at + width : at + width + length].decode()
        return name, struct.unpack_from("<Q", data, at + width + length)[0] if kind == 0 else None
    except (IndexError, UnicodeDecodeError, struct.error):
        raise DataError("a link is damaged") from None


class _Heap:
    """A fractal heap whose blocks hang in one table at most, and the tree that lists what it holds."""

    def __init__(self, source: ByteSource, address: int, kind: HeapKind) -> None:
        self.source, self.address, self.kind = source, address, kind
        head = struct.unpack("<4sBHHBIQQQQQQQQQQQQHQQHHQH", _read(source, address, 142))
        signature, version, id_bytes, filters, _, _, next_huge, huge_tree = head[:8]
        self.objects_held, huge, tiny = head[13], head[14:16], head[16:18]
        width, first, largest, bits, _, root, rows = head[18:]
        usual = (b"FRHP", 0, kind.id_bytes, 0, 0, NOWHERE, (0, 0), (0, 0), WIDTH, kind.first_block, LARGEST_BLOCK)
        if (signature, version, id_bytes, filters, next_huge, huge_tree, huge, tiny, width, first, largest) != usual:
            raise DataError("a heap of links or attributes is not as HDF5 writes it")
        if bits != kind.bits or head[5] != 4096:
            raise DataError("a heap of links or attributes is not as HDF5 writes it")
        self.head = 13 + kind.bits // 8
        self.blocks: dict[int, tuple[int, int]] = {}
        """Offset in the heap -> address and bytes of a block."""
        if rows:
            self._table(root, rows)
        else:
            self._block(root, 0, first)

    def _table(self, root: int, rows: int) -> None:
        sizes = [self.kind.first_block << max(0, row - 1) for row in range(rows)] if rows < 20 else [1 << 30]
        if sizes[-1] > LARGEST_BLOCK:
            raise DataError("a heap of links or attributes is larger than any store's")
        raw = _read(self.source, root, self.head + 8 * WIDTH * rows)
        if raw[:5] != b"FHIB\0" or int.from_bytes(raw[5:13], "little") != self.address or any(raw[13 : self.head]):
            raise DataError("a heap of links or attributes has a damaged table")
        offset = 0
        for number, (address,) in enumerate(struct.iter_unpack("<Q", raw[self.head :])):
            size = sizes[number // WIDTH]
            if address != NOWHERE:
                self._block(address, offset, size)
            offset += size

    def _block(self, address: int, offset: int, size: int) -> None:
        raw = _read(self.source, address, size)
        where = int.from_bytes(raw[13 : self.head], "little")
        if raw[:5] != b"FHDB\0" or int.from_bytes(raw[5:13], "little") != self.address or where != offset:
            raise DataError("a heap of links or attributes has a damaged block")
        self.blocks[offset] = (address, size)

    def objects(self, tree: int) -> Iterator[bytes]:
        """What the tree at this address lists."""
        raw = _read(self.source, tree, 38)
        signature, version, kind, node, record, depth, split, merge, root, count, total = struct.unpack(
            "<4sBBIHHBBQHQ", raw[:34]
        )
        usual = (b"BTHD", 0, self.kind.tree, NODE, self.kind.record, 100, 40)
        if (signature, version, kind, node, record, split, merge) != usual or depth > DEEPEST:
            raise DataError("a tree of links or attributes is not as HDF5 writes it")
        if total != self.objects_held:
            raise DataError("a tree of links or attributes lists other things than its heap holds")
        listed = [*self._records(root, count, depth, self._most(DEEPEST))] if total else []
        if len(listed) != total:
            raise DataError(f"a tree of links or attributes lists {len(listed)} things and says {total}")
        for found in listed:
            if self.kind is ATTRIBUTES and found[8]:
                raise DataError("an attribute is shared with others, which a store's never are")
            yield self._object(found[self.kind.id_at : self.kind.id_at + self.kind.id_bytes])

    def _most(self, depth: int) -> list[int]:
        """Records of a node of each depth, at most."""
        most = [(NODE - 10) // self.kind.record]
        reach = most[0]
        for level in range(1, depth + 1):
            pointer = 8 + _bytes(most[0]) + (_bytes(reach) if level > 1 else 0)
            most.append((NODE - 10 - pointer) // (self.kind.record + pointer))
            reach = (most[-1] + 1) * reach + most[-1]
        return most

    def _records(self, address: int, count: int, depth: int, most: list[int]) -> Iterator[bytes]:
        raw, width = _read(self.source, address, NODE), self.kind.record
        expected = (b"BTIN" if depth else b"BTLF") + bytes([0, self.kind.tree])
        if raw[:6] != expected or not 0 < count <= most[depth]:
            raise DataError("a tree of links or attributes has a damaged node")
        yield from (raw[6 + i * width : 6 + (i + 1) * width] for i in range(count))
        if not depth:
            return
        reach = most[0]
        for level in range(1, depth):
            reach = (most[level] + 1) * reach + most[level]
        at, counted = 6 + count * width, _bytes(most[0])
        for _ in range(count + 1):
            there = int.from_bytes(raw[at : at + 8], "little")
            held = int.from_bytes(raw[at + 8 : at + 8 + counted], "little")
            at += 8 + counted + (_bytes(reach) if depth > 1 else 0)
            yield from self._records(there, held, depth - 1, most)

    def _object(self, id: bytes) -> bytes:
        width = self.kind.bits // 8
        offset, length = int.from_bytes(id[1 : 1 + width], "little"), int.from_bytes(id[1 + width :], "little")
        begin = max((b for b in self.blocks if b <= offset), default=None)
        if id[0] or begin is None:
            raise DataError("a tree of links or attributes points to nothing")
        address, size = self.blocks[begin]
        if not length or offset - begin < self.head or offset - begin + length > size:
            raise DataError("a tree of links or attributes points past its heap")
        return _read(self.source, address + offset - begin, length)


def _bytes(most: int) -> int:
    """Bytes of a number that is at most so large."""
    return (most.bit_length() + 7) // 8

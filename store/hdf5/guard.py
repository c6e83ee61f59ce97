"""Checks the structures in which HDF5 keeps many links or attributes of an object, before HDF5 reads them.

HDF5 crashes or loops over such structures where they were damaged on purpose, with valid checksums: 2.0.0 did for one
of 25 such files. A store has only the few kinds that HDF5 itself writes; everything else is refused here. HDF5
reads object headers alone safely (5000 mutated ones: no crash).

Names follow the HDF5 File Format Specification, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from emofuse.common.errors import DataError
from emofuse.store.hdf5.block_cache import BlockCache
from emofuse.store.hdf5.fractal_heap import ATTRIBUTES, LINKS, UNDEFINED, FractalHeap

_LINK_INFO, _LINK, _CONTINUATION, _SYMBOL_TABLE, _ATTRIBUTE_INFO = 0x02, 0x06, 0x10, 0x11, 0x15
"""Types of header messages."""
_MOST_CHUNKS = 64
"""Chunks of an object header, at most."""


def refuse_unexpected_structures(metadata: BlockCache) -> None:
    """Check every group of a store that HDF5 will be asked for.

    Raises:
        DataError: A heap or tree is not as HDF5 writes it.
    """
    superblock = metadata.read(0, 48)
    if superblock[8] not in (2, 3):
        return  # an older format, without such heaps and trees; other checks refuse or repack it
    if superblock[9:11] != b"\x08\x08" or superblock[12:20] != bytes(8):
        raise DataError("its addresses do not have 8 bytes, or do not start at the beginning of the file")
    root = _hard_links(metadata, int.from_bytes(superblock[36:44], "little"))
    for name in ("manifest", "features"):
        if name in root:
            for child, address in _hard_links(metadata, root[name]).items():
                if name == "features" or child == "excluded":
                    _hard_links(metadata, address)


def _hard_links(metadata: BlockCache, address: int) -> Mapping[str, int]:
    """Name -> address of a group's hard links; checks the group's attributes too."""
    if metadata.read(address, 4) != b"OHDR":
        return {}
    link_messages: list[bytes] = []
    tables: dict[int, tuple[int, int]] = {}
    for kind, data in _header_messages(metadata, address):
        if kind == _SYMBOL_TABLE:
            raise DataError("a group of the old format has a header of the new format")
        if kind == _LINK:
            link_messages.append(data)
        elif kind in (_LINK_INFO, _ATTRIBUTE_INFO):
            if kind in tables:
                raise DataError("a header has two tables of links or attributes")
            tables[kind] = _table_addresses(kind, data)
    for kind, (heap, tree) in tables.items():
        if heap != UNDEFINED or tree != UNDEFINED:
            objects = [*FractalHeap(metadata, heap, LINKS if kind == _LINK_INFO else ATTRIBUTES).objects(tree)]
            link_messages += objects if kind == _LINK_INFO else []
    links = [_parse_link(data) for data in link_messages]
    if len({name for name, _ in links}) != len(links):
        raise DataError("two links have the same name")
    return {name: target for name, target in links if target is not None}


def _header_messages(metadata: BlockCache, address: int) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each message of an object header of version 2."""
    prefix = metadata.read(address, min(48, metadata.length - address))
    flags, position = prefix[5], 6
    position += 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    size_bytes = 1 << (flags & 3)
    size = int.from_bytes(prefix[position : position + size_bytes], "little")
    chunks = [(address + position + size_bytes, size)]
    chunk_count = 0
    while chunks:
        start, size = chunks.pop()
        chunk_count += 1
        if chunk_count > _MOST_CHUNKS:
            raise DataError(f"an object header has more than {_MOST_CHUNKS} chunks")
        data, position, head = metadata.read(start, size), 0, 4 + 2 * bool(flags & 4)
        while position + head <= len(data):
            kind, length = data[position], int.from_bytes(data[position + 1 : position + 3], "little")
            body = data[position + head : position + head + length]
            if kind == _CONTINUATION and len(body) >= 16:
                next_chunk, chunk_bytes = struct.unpack_from("<QQ", body)
                chunks.append((next_chunk + 4, max(0, chunk_bytes - 8)))  # without signature and checksum
            yield kind, body
            position += head + length


def _table_addresses(kind: int, data: bytes) -> tuple[int, int]:
    """Addresses of the fractal heap and of its tree, from a link info or attribute info message."""
    position = 2 + (data[1] & 1) * (8 if kind == _LINK_INFO else 2) if len(data) > 1 else 0
    if len(data) < position + 16 or data[1] & 2:
        raise DataError("a table of links or attributes is cut short, or lists them in the order of their creation")
    heap, tree = struct.unpack_from("<QQ", data, position)
    return heap, tree


def _parse_link(data: bytes) -> tuple[str, int | None]:
    """Name and address of a link message; None where it is not a hard link."""
    try:
        flags, position = data[1], 2
        kind = data[position] if flags & 8 else 0
        position += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
        size_bytes = 1 << (flags & 3)
        length = int.from_bytes(data[position : position + size_bytes], "little")
        name_end = position + size_bytes + length
        name = data[position + size_bytes : name_end].decode()
        return name, struct.unpack_from("<Q", data, name_end)[0] if kind == 0 else None
    except (IndexError, UnicodeDecodeError, struct.error):
        raise DataError("a link is damaged") from None

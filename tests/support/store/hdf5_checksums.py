"""HDF5's checksums of metadata: where they are in a file, and how to correct them after a change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MASK = 0xFFFFFFFF
SIGNATURES = (b"OHDR", b"OCHK", b"BTHD", b"BTLF", b"BTIN", b"FRHP", b"FHDB", b"FHIB", b"FSHD", b"FSSE")
LONGEST = 3000


def _turn(x: int, by: int) -> int:
    return ((x << by) | (x >> (32 - by))) & MASK


def lookup3(data: bytes) -> int:
    """Bob Jenkins's hashlittle with the initial value 0."""
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    whole = max(0, (len(data) - 1) // 12)
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, 12 * whole, 4)]
    for i in range(0, 3 * whole, 3):
        a, b, c = (a + words[i]) & MASK, (b + words[i + 1]) & MASK, (c + words[i + 2]) & MASK
        a = ((a - c) & MASK) ^ _turn(c, 4)
        c = (c + b) & MASK
        b = ((b - a) & MASK) ^ _turn(a, 6)
        a = (a + c) & MASK
        c = ((c - b) & MASK) ^ _turn(b, 8)
        b = (b + a) & MASK
        a = ((a - c) & MASK) ^ _turn(c, 16)
        c = (c + b) & MASK
        b = ((b - a) & MASK) ^ _turn(a, 19)
        a = (a + c) & MASK
        c = ((c - b) & MASK) ^ _turn(b, 4)
        b = (b + a) & MASK
    rest = data[12 * whole :]
    if not rest:
        return c
    rest = rest.ljust(12, b"\0")
    a, b, c = ((x + int.from_bytes(rest[4 * i : 4 * i + 4], "little")) & MASK for i, x in enumerate((a, b, c)))
    c = ((c ^ b) - _turn(b, 14)) & MASK
    a = ((a ^ c) - _turn(c, 11)) & MASK
    b = ((b ^ a) - _turn(a, 25)) & MASK
    c = ((c ^ b) - _turn(b, 16)) & MASK
    a = ((a ^ c) - _turn(c, 4)) & MASK
    b = ((b ^ a) - _turn(a, 14)) & MASK
    return ((c ^ b) - _turn(b, 24)) & MASK


@dataclass(frozen=True)
class Span:
    """Metadata under one checksum."""

    start: int
    end: int
    """Behind its last byte."""
    at: int
    """Where the checksum is; its own four bytes count as zero, where they lie inside."""

    def checksum(self, data: bytes | bytearray) -> int:
        """What it should be."""
        raw = bytearray(data[self.start : self.end])
        if self.at < self.end:
            raw[self.at - self.start : self.at - self.start + 4] = bytes(4)
        return lookup3(bytes(raw))

    def right(self, data: bytes | bytearray) -> bool:
        """Whether it is."""
        return int.from_bytes(data[self.at : self.at + 4], "little") == self.checksum(data)

    def mend(self, data: bytearray) -> None:
        """Make it right."""
        data[self.at : self.at + 4] = self.checksum(data).to_bytes(4, "little")


def spans(data: bytes) -> list[Span]:
    """All checksummed metadata of a file, found by trying every length that there may be."""
    found = [Span(0, 44, 44)]
    for signature in SIGNATURES:
        at = data.find(signature)
        while at >= 0:
            span = next((s for s in _candidates(data, at, signature) if s.right(data)), None)
            if span:
                found.append(span)
            at = data.find(signature, at + 4)
    return found


def _candidates(data: bytes, start: int, signature: bytes) -> Iterator[Span]:
    if signature == b"FHDB":
        for size in (512, 1024, 2048, 4096):
            for at in range(start + 14, start + 22):
                yield Span(start, start + size, at)
        return
    for end in range(start + 8, min(start + LONGEST, len(data) - 4)):
        yield Span(start, end, end)

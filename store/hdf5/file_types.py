"""Tells what a file is that is no store, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Location
from emofuse.store.hdf5.byte_source import ByteSource, read_whole

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD = 512
IMPORTED = "`emofuse store import` takes features from other labs' files"
KNOWN = (
    (b"\x93NUMPY", f"a NumPy array; {IMPORTED}"),
    (b"PAR1", f"a Parquet file; {IMPORTED}"),
    (b"\x80\x02", f"a pickle; {IMPORTED}"),
    (b"\x80\x03", f"a pickle; {IMPORTED}"),
    (b"\x80\x04", f"a pickle; {IMPORTED}"),
    (b"\x80\x05", f"a pickle; {IMPORTED}"),
    (b"PK\x03\x04", "a zip archive (NumPy's .npz and torch's .pt are such); unpack it first"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"RIFF", "a RIFF (wav) file; `extract` makes stores of audio"),
    (b"CDF", "a netCDF file of the classic kind"),
)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def refuse_other_kinds(where: Location, source: ByteSource) -> None:
    """Refuse what cannot be a store, by its first bytes.

    Raises:
        UsageError: It is a file of another kind.
        DataError: It is empty, or its beginning is damaged.
    """
    head = bytearray(min(HEAD, source.length))
    read_whole(source, memoryview(head), 0)
    if head.startswith(SIGNATURE):
        return
    if not head:
        raise DataError(f"{where} is no store: it is empty; delete it and run the command that makes it again")
    for beginning, kind in KNOWN:
        if head.startswith(beginning):
            raise UsageError(f"{where} is no store but {kind}")
    if _is_text(bytes(head)):
        raise UsageError(f"{where} is no store but a text file; a store is made by `extract`")
    raise DataError(
        f"{where} is no store: it does not begin as HDF5 files do. If it was one, its beginning is damaged: "
        "take a copy of it from elsewhere, or extract again"
    )


def _is_text(head: bytes) -> bool:
    try:
        words = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not merely a character that was cut
            return False
        words = head[: error.start].decode()
    return all(c.isprintable() or c in "\r\n\t" for c in words)

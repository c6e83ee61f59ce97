"""Names the type of a file that is not a store, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Location
from emofuse.store.hdf5.byte_source import ByteSource, read_whole

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAD_BYTES = 512
_IMPORT_HINT = "`emofuse store import` takes features from other labs' files"
_KNOWN_TYPES = (
    (b"\x93NUMPY", f"a NumPy array; {_IMPORT_HINT}"),
    (b"PAR1", f"a Parquet file; {_IMPORT_HINT}"),
    (b"\x80\x02", f"a pickle; {_IMPORT_HINT}"),
    (b"\x80\x03", f"a pickle; {_IMPORT_HINT}"),
    (b"\x80\x04", f"a pickle; {_IMPORT_HINT}"),
    (b"\x80\x05", f"a pickle; {_IMPORT_HINT}"),
    (b"PK\x03\x04", "a zip archive (as NumPy's .npz and torch's .pt files are); unpack it first"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"RIFF", "a RIFF (wav) file; `extract` makes stores of audio"),
    (b"CDF", "a netCDF file in the classic format"),
)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins with HDF5's signature."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def refuse_other_types(where: Location, source: ByteSource) -> None:
    """Refuse a file whose first bytes are not those of an HDF5 file.

    Raises:
        UsageError: It is a file of another type.
        DataError: It is empty, or its beginning is damaged.
    """
    head = bytearray(min(_HEAD_BYTES, source.length))
    read_whole(source, memoryview(head), 0)
    if head.startswith(SIGNATURE):
        return
    if not head:
        raise DataError(f"{where} is not a store: it is empty; delete it and run the command that makes it again")
    for signature, description in _KNOWN_TYPES:
        if head.startswith(signature):
            raise UsageError(f"{where} is not a store but {description}")
    if _is_text(bytes(head)):
        raise UsageError(f"{where} is not a store but a text file; a store is made by `extract`")
    raise DataError(
        f"{where} is not a store: it does not begin as HDF5 files do. If it was one, its beginning is damaged: "
        "take a copy of it from elsewhere, or extract again"
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character that the end of the head cut in two
            return False
        text = head[: error.start].decode()
    return all(c.isprintable() or c in "\r\n\t" for c in text)

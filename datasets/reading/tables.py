"""Annotation files as text and tables, with the encodings and delimiters of spreadsheets and data frames."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
MISSING = frozenset({"nan", "NaN", "NAN", "None", "<NA>", "NaT"})
"""Cells that a data frame writes where it has no value."""
_C1 = {chr(code) for code in range(0x80, 0xA0)}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of a table."""

    path: Path
    rows: Sequence[tuple[int, dict[str, str]]]
    """Row number (the header is row 1) -> column -> cell; empty rows are skipped."""
    delimiter: str
    repaired: int
    """Characters that were written as the wrong code points of Windows-1252."""

    @property
    def delimiter_notes(self) -> list[str]:
        """The delimiter, where it is not the usual one."""
        if self.delimiter == _usual_delimiter(self.path):
            return []
        return [f"{self.path} is read with {DELIMITERS[self.delimiter]} between its columns"]

    @property
    def notes(self) -> list[str]:
        """What its user should know."""
        return self.delimiter_notes + repaired_notes(str(self.path), self.repaired)


def repaired_notes(source: str, count: int) -> list[str]:
    """The note on repaired characters; none where there are none."""
    if not count:
        return []
    return [
        f"{plural(count, 'control character')} (U+0080 to U+009F) of {source} read as Windows-1252, such as ’ and …"
    ]


def text_lines(path: Path) -> list[str]:
    """The lines of an annotation file, in UTF-8; a line that is not is decoded as Windows-1252.

    Code points from U+0080 to U+009F, which no text has, are characters of Windows-1252 that were taken for Latin-1.

    Raises:
        UsageError: The file is UTF-16, or an archive.
    """
    return [repaired(line) for line in _lines(path)]


def repaired(line: str) -> str:
    """The line with code points from U+0080 to U+009F read as Windows-1252."""
    if _C1.isdisjoint(line):
        return line
    return "".join(c.encode("latin-1").decode("cp1252", errors="ignore") or c if c in _C1 else c for c in line)


def read_table(path: Path, required: Iterable[str], remedy: str = "") -> Table:
    """The rows of a CSV or TSV file.

    Args:
        path: The file; `.tsv` means tabs, any other name commas, unless only another delimiter gives the columns.
        required: Columns that it must have.
        remedy: What to do where one is missing; ends the message.

    Raises:
        UsageError: The file or a column is missing, or a row is longer or shorter than the header.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}")
    lines, required = _lines(path), tuple(required)
    delimiter = _delimiter(path, lines, required)
    try:
        rows = list(csv.reader((repaired(line) + "\n" for line in lines), delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    missing = [c for c in required if c not in header]
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}; it has: {', '.join(header) or 'none'}{remedy}")
    body = [(number, row) for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    uneven = [f"row {number} has {len(row)}" for number, row in body if len(row) != len(header)]
    if uneven:
        raise UsageError(
            f"{path}: {'; '.join(uneven[:5])} cells where the header has {len(header)}; quote cells with "
            f"{DELIMITERS[delimiter]}"
        )
    return Table(
        path=path,
        rows=[(number, dict(zip(header, row, strict=True))) for number, row in body],
        delimiter=delimiter,
        repaired=sum(c in _C1 for line in lines for c in line),
    )


def _usual_delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _delimiter(path: Path, lines: Sequence[str], required: Sequence[str]) -> str:
    """The usual delimiter, or the one with which the header has the required columns where only that has them."""
    usual = _usual_delimiter(path)
    for delimiter in dict.fromkeys((usual, *DELIMITERS)):
        header = next(csv.reader(lines[:1], delimiter=delimiter), [])
        if {*required} <= {cell.strip() for cell in header} and (delimiter == usual or len(header) > 1):
            return delimiter
    return usual


def _lines(path: Path) -> list[str]:
    data = path.read_bytes()
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        raise UsageError(f"{path} is UTF-16, expected UTF-8: save it as CSV UTF-8, or iconv -f UTF-16 -t UTF-8 FILE")
    if data.startswith(b"PK\x03\x04"):
        raise UsageError(f"{path} is a spreadsheet or an archive, expected text: save the sheet as CSV UTF-8")

    def decode(line: bytes) -> str:
        try:
            return line.decode("utf-8-sig")
        except UnicodeDecodeError:
            return line.decode("cp1252", errors="replace")

    return [decode(line) for line in data.splitlines()]

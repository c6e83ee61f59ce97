"""CSV text that spreadsheets cannot run, and that reads back exactly.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a formula. Such a text is
written with an apostrophe before it, and so is a text that would be mistaken for an escaped one: apostrophes, then one
of these characters. Numbers stay as they are. The reader removes that one apostrophe.
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

CsvRow = Mapping[str, Any]
ESCAPE = "'"
_FORMULA = tuple("=+-@\t\r")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)")


def csv_text(rows: Sequence[CsvRow], columns: Sequence[str] | None = None) -> str:
    """Rows as CSV; a missing value is an empty cell.

    Args:
        rows: Column -> value.
        columns: The columns in order; by default every key of any row.
    """
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([escaped(name) for name in columns])
    writer.writerows([[escaped(row.get(name, "")) for name in columns] for row in rows])
    return text.getvalue()


def parse_csv(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and the rows of what `csv_text` wrote.

    Raises:
        ValueError: The text is not such a table; says in which line.
    """
    if "\0" in text:
        raise ValueError("it contains zero bytes")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [unescaped(name) for name in next(reader, [])]
        rows = []
        for cells in reader:
            if len(cells) != len(columns):
                raise ValueError(f"line {reader.line_num} has {len(cells)} cells, expected {len(columns)}")
            rows.append(dict(zip(columns, map(unescaped, cells), strict=True)))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    if len(set(columns)) < len(columns):
        raise ValueError("two columns have the same name")
    return columns, rows


def escaped(value: Any) -> Any:
    """The cell of a value: a text that a spreadsheet would run gets an apostrophe before it."""
    return ESCAPE + value if isinstance(value, str) and _is_formula(value) else value


def unescaped(cell: str) -> str:
    """The text that `escaped` got."""
    return cell[1:] if cell.startswith(ESCAPE) and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    bare = text.lstrip(ESCAPE)
    return bare.startswith(_FORMULA) and not _NUMBER.fullmatch(bare)

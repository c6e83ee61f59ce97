"""Which columns a table has, and how a page arranges them: none empty, few wide ones, constant ones in the caption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from emofuse.common.output.console import printable
from emofuse.common.page.blocks import Cell, ClassName, Column, Link, Marks, PagedTable, Sound, Spark, Table

AnyTable = TypeVar("AnyTable", Table, PagedTable)
LONGEST_TEXT = 300
"""Characters of what was said that a table shows."""


def spoken(text: str | None) -> str | None:
    """What was said, on one line and short enough for a table."""
    return None if text is None else printable(" ".join(text.split()), LONGEST_TEXT)


def filled_columns(columns: Iterable[tuple[Column, Sequence[Cell]]]) -> tuple[list[Column], list[list[Cell]]]:
    """The columns and the rows of a table.

    Args:
        columns: Each with its cells from top to bottom; those with nothing in them are left out.
    """
    filled = [(column, cells) for column, cells in columns if not all(map(is_empty, cells))]
    return [column for column, _ in filled], list(map(list, zip(*(cells for _, cells in filled), strict=True)))


def telling_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> tuple[list[Column], list[Sequence[Cell]], str]:
    """A table without its empty columns and, from two rows on, without those that have one value in all rows.

    The first column is always kept.

    Returns:
        The columns, the rows, and a sentence on the values that all rows have in common; empty if there are none.
    """
    common = _constants(columns[1:], [row[1:] for row in rows])
    kept = [0, *(i for i in range(1, len(columns)) if i - 1 not in common and not all(is_empty(r[i]) for r in rows))]
    said = _said([columns[1 + i] for i in common], [*common.values()])
    return [columns[i] for i in kept], [tuple(row[i] for i in kept) for row in rows], said


def with_constants_in_caption(table: AnyTable) -> AnyTable:
    """The table without the `once` columns that have one value in all rows; the caption says them."""
    rows = [*table.rows, *getattr(table, "totals", ())]
    common: dict[int, str] = {i: text for i, text in _constants(table.columns, rows).items() if table.columns[i].once}
    if not common:
        return table
    kept = [i for i in range(len(table.columns)) if i not in common]
    shown = replace(
        table,
        columns=[table.columns[i] for i in kept],
        rows=[[row[i] for i in kept] for row in table.rows],
        caption=f"{table.caption} {_said([table.columns[i] for i in common], [*common.values()])}".strip(),
    )
    if isinstance(shown, Table):
        return replace(shown, totals=[[row[i] for i in kept] for row in shown.totals])
    return shown


def _constants(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> dict[int, str]:
    """The numbers of the columns that have one value in all rows, at least two, and that value."""
    if len(rows) < 2:
        return {}
    texts = {i: {_told(row[i], column) for row in rows} for i, column in enumerate(columns)}
    return {i: next(iter(found)) for i, found in texts.items() if len(found) == 1}


def _told(cell: Cell, column: Column) -> str:
    return cell.href if isinstance(cell, Sound) else cell_text(cell, column)


def _said(columns: Sequence[Column], texts: Sequence[str]) -> str:
    found = [f"{column.name} ({text})" for column, text in zip(columns, texts, strict=True) if text]
    return f"The same in all rows: {', '.join(found)}." if found else ""


def stacks(columns: Sequence[Column]) -> list[list[int]]:
    """The numbers of the columns that share a cell, from left to right."""
    found: list[list[int]] = []
    for number, column in enumerate(columns):
        if column.below and found:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def is_empty(cell: Cell) -> bool:
    """Whether a cell has nothing to show: also a number that is none, which no JSON can hold."""
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def format_number(value: float | int, column: Column) -> str:
    """A number of a cell."""
    return str(value) if column.decimals is None else f"{value:.{column.decimals}f}"


def cell_text(cell: Cell, column: Column) -> str:
    """A cell as plain text."""
    if cell is None or is_empty(cell):
        return ""
    match cell:
        case Link():
            return cell.text
        case ClassName():
            return cell.name
        case Marks():
            return "; ".join(cell.names)
        case Sound():
            return ""
        case Spark():
            return cell.alt
        case int() | float():
            return format_number(cell, column)
    return cell

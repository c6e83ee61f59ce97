"""Which columns a table has, and how a page arranges them: none empty, few wide ones, constant ones in the caption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from emofuse.common.console import printable
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


def with_constants_in_caption(table: AnyTable) -> AnyTable:
    """The table without the `once` columns that have one value in all rows; the caption says them.

    With a single row there is nothing to save.
    """
    rows = [*table.rows, *getattr(table, "totals", ())]
    said = {
        i: cell_text(rows[0][i], column)
        for i, column in enumerate(table.columns)
        if column.once and len(rows) > 1 and all(row[i] == rows[0][i] for row in rows)
    }
    if not said:
        return table
    words = ", ".join(f"{table.columns[i].name} {text}" for i, text in said.items())
    kept = [i for i in range(len(table.columns)) if i not in said]
    shown = replace(
        table,
        columns=[table.columns[i] for i in kept],
        rows=[[row[i] for i in kept] for row in table.rows],
        caption=f"{table.caption} The same in every row: {words}.".strip(),
    )
    if isinstance(shown, Table):
        return replace(shown, totals=[[row[i] for i in kept] for row in shown.totals])
    return shown


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

"""The columns of a table that tell its rows apart."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.page.blocks import Cell, Column, Sound
from emofuse.common.page.columns import cell_text

Row = Sequence[Cell]


def telling_columns(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[list[Column], list[Row], str]:
    """A table without its empty columns and, from two rows on, without those that have one value in all rows.

    The first column is always kept.

    Returns:
        The columns, the rows, and a sentence on the values that all rows have in common; empty if there are none.
    """
    kept, common = [0], []
    for place, column in enumerate(columns[1:], 1):
        texts = {_told(row[place], column) for row in rows}
        if len(rows) < 2 or len(texts) > 1:
            kept += [place] if any(row[place] not in (None, "") for row in rows) else []
        elif text := next(iter(texts)):
            common.append(f"{column.name} {text}")
    sentence = f"The same in all rows: {', '.join(common)}." if common else ""
    return [columns[i] for i in kept], [tuple(row[i] for i in kept) for row in rows], sentence


def _told(cell: Cell, column: Column) -> str:
    return cell.href if isinstance(cell, Sound) else cell_text(cell, column)

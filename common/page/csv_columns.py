"""A table of a page as CSV: a number in each cell, where the page writes several into one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from emofuse.common.disk.csv_table import csv_text
from emofuse.common.page.blocks import Cell, Column, PagedTable, Spark, Table
from emofuse.common.page.columns import cell_text
from emofuse.common.page.render import numeric_columns

_NUMBER = r"[-+−]?\d[\d,]*\.?\d*"
_SPREAD = re.compile(rf"({_NUMBER}) ± ({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})(?:–| to )({_NUMBER})")
_WHOLE = re.compile(_NUMBER)


def table_as_csv(table: Table | PagedTable) -> str:
    """The table as CSV.

    `0.698 ± 0.002` fills the columns NAME and `NAME std`, `0.658–0.740` the columns `NAME low` and `NAME high`, and a
    tiny chart a column for each of its values. `-`, which stands for no value, is an empty cell.
    """
    rows = [*table.rows, *getattr(table, "totals", ())]
    found: list[dict[str, str]] = [{} for _ in rows]
    names: list[str] = []
    for number, (column, numeric) in enumerate(zip(table.columns, numeric_columns(table), strict=True)):
        parts = [_parts(row[number], column, numeric) for row in rows]
        for name in _in_order(column.name, parts):
            names.append(name)
        for cells, of_row in zip(found, parts, strict=True):
            cells.update(of_row)
    return csv_text(found, names)


def _in_order(name: str, parts: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns that one column of the page becomes."""
    present = list(dict.fromkeys(key for part in parts for key, value in part.items() if value))
    usual = [key for key in (name, f"{name} std", f"{name} low", f"{name} high") if key in present]
    return [*usual, *(key for key in present if key not in usual)] or [name]


def _parts(cell: Cell, column: Column, numeric: bool) -> dict[str, str]:
    """The columns that a cell fills, with their values."""
    if isinstance(cell, Spark) and cell.values:
        return {name: str(value) for name, value in cell.values.items()}
    text, name = cell_text(cell, column), column.name
    if not numeric or not isinstance(cell, str):
        return {name: text}
    if found := _SPREAD.fullmatch(text):
        return {name: _plain(found[1]), f"{name} std": _plain(found[2])}
    if found := _RANGE.fullmatch(text):
        return {f"{name} low": _plain(found[1]), f"{name} high": _plain(found[2])}
    return {name: "" if text == "-" else _plain(text) if _WHOLE.fullmatch(text) else text}


def _plain(number: str) -> str:
    return number.replace(",", "").replace("−", "-")

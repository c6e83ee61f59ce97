"""A page as one HTML file that loads nothing: style, script and charts are inside."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emofuse.common.charts.drawing import inline_svg, require_report_extra
from emofuse.common.charts.palette import class_colours
from emofuse.common.page.blocks import (
    Cell,
    ClassName,
    Column,
    Link,
    Marks,
    Page,
    PagedTable,
    Sound,
    Spark,
    Table,
)
from emofuse.common.page.columns import format_number, is_empty, stacks, with_constants_in_caption
from emofuse.common.page.walk import classes_of, sounds_of
from emofuse.common.source_version import package_version

FOLDER = Path(__file__).parent / "templates"
SCRIPTS = ("script.js", "tables.js")
"""In this order, they are the one script of a page."""
PAGE_ROWS = 25
"""Rows of a paged table that are shown at a time, and that a browser without scripts shows."""
LONG_TEXT = 28
"""Characters of a text beyond which a cell's column is wide enough to read sentences."""
_SAFE_LINK = re.compile(r"(https://|#|(?![a-zA-Z][a-zA-Z0-9+.-]*:|/))[^\x00-\x20\\]*")
"""A link without a scheme but https, without another host, and without what browsers skip or read as a slash."""
_NUMERIC = re.compile(
    r"[-+−<]?[\d.,]+ ?%?( ?± ?[\d.]+)?\*?|[-+−]?[\d.]+([-–]| to )[-+−]?[\d.]+|\d{4}-\d\d-\d\d( \d\d:\d\d)?"
)
"""A number with its deviation, an interval, or a date."""


def render(page: Page) -> str:
    """The page's HTML.

    Raises:
        UsageError: jinja2 or matplotlib is not installed.
    """
    environment = _environment()
    from markupsafe import Markup

    script = "".join((FOLDER / name).read_text() for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html: str = environment.get_template("page.html").render(
        page=page,
        style=Markup((FOLDER / "style.css").read_text()),
        script=Markup(script),
        script_digest=f"sha256-{digest}",
        sparklines={key: Markup(svg) for key, svg in page.sparklines.items()},
        paged_data=paged_data,
        colours=class_colours(classes_of(page)),
        first_rows=PAGE_ROWS,
        long_text=LONG_TEXT,
        plain_column=Column(name=""),
        version=package_version(),
        needs=_what_it_needs(page),
    )
    return html


def _what_it_needs(page: Page) -> str:
    """Which other files the page needs."""
    blocks = [block for section in page.sections for block in section.blocks]
    if any(not sound.href.startswith("data:") for sound in sounds_of(blocks)):
        return "This file needs no network. It plays recordings of the corpus's folder: move both together."
    return "This file needs no network and no other file."


@functools.cache
def _environment() -> Any:
    """The templates, compiled once in a process."""
    require_report_extra()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "href": safe_link,
        "number": shown_number,
        "kind": cell_kind,
        "json": lambda value: Markup(_script_json(value)),
        "svg": lambda chart: Markup(inline_svg(chart.drawing, chart.name)),
        "numeric": numeric_columns,
        "arranged": with_constants_in_caption,
        "stacks": stacks,
    }
    return environment


def safe_link(href: str) -> str:
    """The link itself, if it leads to https or is relative.

    Raises:
        ValueError: It does not.
    """
    if not (_SAFE_LINK.fullmatch(href) or href.startswith("data:audio/")):
        raise ValueError(f"{href[:40]!r} is not a link of a page: expected a relative path, https:// or data:audio/")
    return href


def shown_number(value: float | int, column: Column) -> str:
    """A number of a cell on a page: whole ones have separators from ten thousand on."""
    if column.decimals is None and isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return format_number(value, column)


def cell_kind(cell: Cell) -> str:
    """`number`, `empty`, `text`, or the name of the cell's class in lower case."""
    if is_empty(cell):
        return "empty"
    if isinstance(cell, (int, float)):
        return "number"
    return {Link: "link", ClassName: "class", Marks: "marks", Sound: "sound", Spark: "spark"}.get(type(cell), "text")


def numeric_columns(table: Table | PagedTable) -> list[bool]:
    """Whether each column is right-aligned: it has a number, and nothing but numbers, `-` and empty cells.

    The first column is the name of its row, and never is.
    """
    rows = [*table.rows, *getattr(table, "totals", ())]
    columns = [[row[i] for row in rows if not is_empty(row[i]) and row[i] != "-"] for i in range(len(table.columns))]
    return [False, *(bool(cells) and all(map(_looks_numeric, cells)) for cells in columns[1:])]


def _looks_numeric(cell: Cell) -> bool:
    return isinstance(cell, (int, float)) or (isinstance(cell, str) and bool(_NUMERIC.fullmatch(cell)))


def paged_data(table: PagedTable, colours: Mapping[str, str]) -> dict[str, Any]:
    """What the script needs of a paged table: columns, rows of values, and the colours of its classes."""
    classes = {cell.name for row in table.rows for cell in row if isinstance(cell, ClassName)}
    numeric = numeric_columns(table)
    columns = [
        {
            "name": column.name,
            "decimals": column.decimals,
            "filter": column.filter,
            "below": column.below,
            "secondary": column.secondary,
            "help": column.help,
            "numeric": numeric[number],
            "kind": next((k for row in table.rows if (k := cell_kind(row[number])) not in ("empty", "text")), "text"),
        }
        for number, column in enumerate(table.columns)
    ]
    rows = [[_value(cell) for cell in row] for row in table.rows]
    return {"columns": columns, "rows": rows, "colours": {name: colours[name] for name in sorted(classes)}}


def _value(cell: Cell) -> Any:
    if is_empty(cell):
        return None
    match cell:
        case Link():
            return [cell.text, safe_link(cell.href)]
        case ClassName():
            return cell.name
        case Marks():
            return list(cell.names)
        case Sound():
            return safe_link(cell.href)
        case Spark():
            return [cell.key, cell.alt]
        case float() if math.isinf(cell):
            return str(cell)
        case float():
            return round(cell, 6)
    return cell


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element or begins another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")

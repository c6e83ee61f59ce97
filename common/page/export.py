"""The charts and tables of a page as files of their own, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emofuse.common.charts.drawing import picture
from emofuse.common.disk.outputs import write_output
from emofuse.common.errors import UsageError
from emofuse.common.output.formats import PICTURES, TableFormat
from emofuse.common.output.latex import latex_escaped, latex_first_cell
from emofuse.common.page.blocks import Page, PagedTable, Table
from emofuse.common.page.columns import cell_text
from emofuse.common.page.csv_columns import table_as_csv
from emofuse.common.page.render import numeric_columns
from emofuse.common.page.walk import charts_of, tables_of

ENDINGS = {"csv": "csv", "md": "md", "latex": "tex"}


def write_parts(page: Page, folder: Path, format: str, note: str = "") -> list[Path]:
    """Write every chart of a page (svg, png, pdf) or every table (csv, md, latex) into a folder.

    Args:
        note: What a reader must know before believing them; stands below each.

    Returns:
        The files, in the order of the page.

    Raises:
        UsageError: The page has no charts or no tables.
    """
    blocks = [block for section in page.sections for block in section.blocks]
    if format in PICTURES:
        parts = {f"{c.name}.{format}": picture(c.drawing, format, note) for c in charts_of(blocks)}
    else:
        parts = {f"{t.name}.{ENDINGS[format]}": table_text(t, format, note).encode() for t in tables_of(blocks)}  # type: ignore[arg-type]
    if not parts:
        raise UsageError(f"this page has no {'charts' if format in PICTURES else 'tables'} to write as {format}")
    for name, content in parts.items():
        write_output(folder / name, content)
    return [folder / name for name in parts]


def table_text(table: Table | PagedTable, format: TableFormat, note: str = "") -> str:
    """A table as CSV, Markdown or LaTeX (booktabs)."""
    names = [column.name for column in table.columns]
    rows = [
        [cell_text(cell, column) for cell, column in zip(row, table.columns, strict=True)]
        for row in [*table.rows, *getattr(table, "totals", ())]
    ]
    if format == "csv":
        return table_as_csv(table)
    numeric = numeric_columns(table)
    return (_markdown if format == "md" else _latex)(table.title, names, rows, numeric, note)


def markdown_escaped(text: str) -> str:
    """Text as one line of Markdown, also in a cell, without HTML."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _markdown(title: str, names: Sequence[str], rows: Sequence[list[str]], numeric: Sequence[bool], note: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(markdown_escaped, cells))} |"

    rule = f"| {' | '.join('---:' if right else '---' for right in numeric)} |"
    return "\n".join([f"**{title}**", "", line(names), rule, *map(line, rows), *(["", note] if note else []), ""])


def _latex(title: str, names: Sequence[str], rows: Sequence[list[str]], numeric: Sequence[bool], note: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join([latex_first_cell(cells[0]), *map(latex_escaped, cells[1:])]) + r" \\"

    caption = latex_escaped(f"{title}. {note}" if note else title)
    columns = "".join("r" if right else "l" for right in numeric)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{{columns}}}", r"\toprule", line(names), r"\midrule", *map(line, rows),
            r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ]
    )  # fmt: skip

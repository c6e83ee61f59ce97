"""What notebooks show of an object: a heading, remarks and a table, as HTML without style of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from emofuse.common.output.console import printable


def html_display(heading: str, remarks: Iterable[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """HTML for a `_repr_html_`; every text is escaped, as names may come from files of other people."""
    lines = [f"<p><strong>{_text(heading)}</strong></p>", *(f"<p>{_text(remark)}</p>" for remark in remarks)]
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return "\n".join([*lines, f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"])


def _text(value: object) -> str:
    return html.escape(printable(str(value), 300))

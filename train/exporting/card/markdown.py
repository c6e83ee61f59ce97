"""Markdown from untrusted names: tables and lists whose cells cannot change the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emofuse.common.output.console import printable

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|!"})


def escaped(text: object) -> str:
    """One line of text without control characters, and with Markdown's special characters escaped."""
    return printable(str(text), 400).translate(_SPECIAL)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table, and an empty one."""
    return [_row(header), _row(["---"] * len(header)), *(_row([escaped(c) for c in row]) for row in rows), ""]


def bullets(items: Iterable[str]) -> list[str]:
    """The lines of a list, and an empty one; the items are Markdown already."""
    return [*(f"- {item}" for item in items), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

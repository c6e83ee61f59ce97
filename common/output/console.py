"""Console output: lines, aligned tables, file sizes, and untrusted text made safe to print."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from emofuse.common.redaction import redacted

Say = Callable[[str], None]
"""Reports one line to the user."""
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
"""The click context settings of every command."""


def say(line: str) -> None:
    """Print a line to stdout at once; when the pipe is closed (`| head`), continue without output."""
    say_coloured(screen_text(line))


def say_coloured(text: str) -> None:
    """Print text as it is, such as a picture in colours; everything else is for `say`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(line: str, stream: TextIO | None = None) -> None:
    """Print a line to stderr, or to another stream, at once."""
    print(screen_text(line), file=stream or sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """Print a JSON document to stdout, indented; see `json_text`."""
    say(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON whose texts are safe to print: control characters, also invisible ones, are escaped; nothing is lost."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    """Non-printable characters occur in JSON only inside texts, where an escape means the same."""
    return json.dumps(character)[1:-1]


def wrapped(text: str, indent: str) -> str:
    """Text in lines as long as the terminal is wide, the second and later ones after `indent`; 120 in a pipe."""
    width = max(60, shutil.get_terminal_size((120, 24)).columns)
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def screen_text(text: str) -> str:
    """Lines that may include untrusted input, without control characters and credentials."""
    return "\n".join(_without_controls(line) for line in redacted(text).split("\n"))


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """An aligned table; columns whose cells are all numeric are right-aligned."""
    cells = [[_without_controls(str(c)) for c in row] for row in rows]
    columns = list(zip(header, *cells, strict=True)) if cells else [(h,) for h in header]
    widths = [max(len(c) for c in column) for column in columns]
    right = [len(column) > 1 and all(_is_numeric(c) for c in column[1:]) for column in columns]

    def aligned(row: Sequence[str]) -> str:
        padded = (c.rjust(w) if numeric else c.ljust(w) for c, w, numeric in zip(row, widths, right, strict=True))
        return indent + "  ".join(padded).rstrip()

    return "\n".join(aligned(row) for row in [list(header), *cells])


def _is_numeric(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").lstrip("-+").rstrip("%").isdigit() or cell in ("", "-", "nan")


def plural(count: int, noun: str) -> str:
    """`1 utterance`, `2 utterances`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def as_sentence(phrase: str) -> str:
    """A phrase with a capital letter and a full stop; not for one that begins with a name."""
    return f"{phrase[:1].upper()}{phrase[1:]}{'' if phrase.endswith('.') else '.'}"


def format_size(count: float) -> str:
    """A number of bytes in a readable unit (powers of ten): `1.5 kB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def printable(text: str, width: int = 120) -> str:
    """Untrusted text without control characters (such as terminal escapes), cut to `width` characters."""
    clean = _without_controls(text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def _without_controls(line: str) -> str:
    return line if line.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)

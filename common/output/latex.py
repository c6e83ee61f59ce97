"""Text as LaTeX prints it."""

from __future__ import annotations

_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_LATEX |= {"<": "$<$", ">": "$>$", "|": "$|$"} | {c: f"\\{c}" for c in "&%$#_{}"}


def latex_escaped(text: str) -> str:
    """Text without LaTeX's special characters; `--`, as of an option, stays two hyphens."""
    return "".join(_LATEX.get(c, c) for c in text).replace("--", "-{}-").replace("--", "-{}-")


def latex_first_cell(text: str) -> str:
    """The escaped first cell of a row: after a line break, LaTeX would read `[` or `*` as the break's option."""
    return f"{{}}{latex_escaped(text)}" if text.startswith(("[", "*")) else latex_escaped(text)

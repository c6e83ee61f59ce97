"""The commands of a documentation page: fenced blocks are run in order, in one folder, as a reader would type them.

- Language `sh`: each statement must succeed. Commands of emofuse run in this process, others in bash.
- Language `console`: lines after `$ ` are commands, the lines below their output; `...` is any text.
- A command whose line ends with a backslash continues on the next line.

Indented blocks are not run: they need a licensed corpus, large weights or a GPU. Their options are checked.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

import commands

OURS = ("extract", "fit", "emofuse")
_FENCE = re.compile(r"^```(sh|console)\n(.*?)^```$", re.M | re.S)
_HEREDOC = re.compile(r"<<'(\w+)'")


@dataclass(frozen=True)
class Statement:
    """One command of a page, and what the page says it prints (None: nothing is said)."""

    text: str
    printed: str | None = None


def statements(page: str) -> list[Statement]:
    """All statements of the fenced blocks of a page, in order."""
    found: list[Statement] = []
    for language, block in _FENCE.findall(page):
        found += _shell(block) if language == "sh" else _console(block)
    return found


def _shell(block: str) -> Iterator[Statement]:
    lines = iter(block.replace("\\\n", " ").splitlines())
    for line in lines:
        text = line
        if heredoc := _HEREDOC.search(line):
            for more in lines:
                text += f"\n{more}"
                if more == heredoc[1]:
                    break
        if text.strip() and not text.startswith("#"):
            yield Statement(text)


def _console(block: str) -> Iterator[Statement]:
    for part in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.M)[1:]:
        command, _, printed = part.partition("\n")
        yield Statement(command, printed)


def run_page(page: str, folder: Path) -> list[str]:
    """Run all statements in a folder; returns what went wrong, one line each."""
    problems = []
    for statement in statements(page):
        code, output = _run(statement.text, folder)
        if statement.printed is None:
            if code != 0:
                problems.append(f"$ {statement.text}\nexit code {code}:\n{output}")
        elif not OutputChecker().check_output(statement.printed, output, ELLIPSIS | NORMALIZE_WHITESPACE):
            problems.append(f"$ {statement.text}\nprinted:\n{output}\nthe page says:\n{statement.printed}")
    return problems


def _run(text: str, folder: Path) -> tuple[int, str]:
    words = shlex.split(text, comments=True) if "<<" not in text else []
    if words and words[0] in OURS and not {"|", "||", "&&", ">"} & set(words):
        words = words[1:] if words[0] == "emofuse" else words
        done = commands.run(words[0], words[1:], folder)
    else:
        scripts = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
    # Progress, on stderr, depends on how fast the machine is; the message of an error is there too.
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

"""README.md and docs/: the Python examples run, and every command names options and choices that exist."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import click
import pytest
from paths import ROOT

from emofuse.common.umbrella import COMMANDS, load_command

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
STARTS = ("extract ", "fit ", "emofuse ")


def commands_of(page: Path) -> list[str]:
    """The lines of code blocks that call emofuse; in a block with `$ ` those after it, as the others are output."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for block in re.findall(r"(?:^(?: {4}|\t).*\n?)+", text, re.M):
        lines = [line.strip() for line in block.splitlines()]
        shell = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [line for line in shell or lines if line.startswith(STARTS)]
    return found


LINES = [(page.name, line) for page in PAGES for line in commands_of(page)]


def test_the_pages_have_commands() -> None:
    assert len(LINES) > 60


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_of_a_page_is_understood(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    words = words[: next((n for n, word in enumerate(words) if word in (">", "|")), None)]
    words = words[1:] if words[0] == "emofuse" else words
    if words[0] not in COMMANDS:
        assert words[0] in ("demo", "--help", "--version")
        return
    found: click.Command = load_command(words[0])
    arguments = words[1:]
    while isinstance(found, click.Group):
        sub = found.get_command(click.Context(found), arguments[0])
        assert sub is not None, line
        found, arguments = sub, arguments[1:]
    found.make_context(words[0], [*arguments])  # raises where an option or a choice does not exist


PATH = re.compile(r"(?<![\w/.-])(?:benchmarks|common|datasets|docs|extract|manifests|store|tests|train)/[\w./-]*\w/?")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "store" / "FORMAT.md", ROOT / "benchmarks" / "NOTES.md"], ids=str)
def test_a_page_names_files_that_exist(page: Path) -> None:
    named = {path for path in PATH.findall(page.read_text(encoding="utf-8")) if "NAME" not in path}
    missing = sorted(path for path in named if not (ROOT / path).exists())
    assert not missing, f"{page.name} names {missing}"


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")], ids=str)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (failed, tried > 0) == (0, True)

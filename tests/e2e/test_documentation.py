"""README.md and docs/: fenced commands and Python examples run; every other command names options that exist."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import shlex
import sys
from pathlib import Path
from typing import Any, is_typeddict

import click
import pytest
from page_blocks import run_page, statements
from paths import ROOT

from emofuse.common.output.console import HELP_OPTIONS
from emofuse.common.umbrella import COMMANDS, load_command
from emofuse.datasets.synthetic import best_scores
from emofuse.extract.commands.demo import BAND

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
    # It raises where an option or a choice does not exist.
    found.make_context(words[0], [*arguments], **HELP_OPTIONS)


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


def test_readme_promises_the_band_of_the_demo() -> None:
    low, high = BAND
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"\| SMCN, .*\| {low:.2f} to {high:.2f} \|", readme)
    for name, best in (("audio alone", "audio"), ("text alone", "text"), ("both", "both")):
        assert f"| {name}, at best | {best_scores()[best]:.3f} |" in readme


RUN = [page for page in PAGES if page.name != "README.md" and statements(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_fenced_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emofuse.common.page.render.inline_svg", lambda drawing, name: "<svg></svg>")
    monkeypatch.setattr("emofuse.train.runs.run_files.picture", lambda *given: b"")
    problems = run_page(page.read_text(encoding="utf-8"), tmp_path)
    assert not problems, "\n\n".join(problems)


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = "```console\n$ echo one\ntwo\n$ echo one\no...\n```\n```sh\ntrue\nfalse\n```\n"
    first, second = run_page(page, tmp_path)
    assert first == "$ echo one\nprinted:\none\n\nthe page says:\ntwo\n"
    assert second.startswith("$ false\nexit code 1")


PYTHON = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    if ">>>" not in block
]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_without_a_prompt_uses_names_and_options_that_exist(page: str, block: str) -> None:
    """Such a block needs data that is not here: its imports are made, and its calls must fit the functions."""
    tree = ast.parse(block)
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            exec(ast.unparse(node), names)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    for call in calls:
        if (function := names.get(ast.unparse(call.func))) is not None and inspect.isfunction(function):
            options = filter(is_typeddict, vars(sys.modules[function.__module__]).values())
            known = set(inspect.signature(function).parameters).union(*(kind.__annotations__ for kind in options))
            assert {keyword.arg for keyword in call.keywords} <= known, (page, ast.unparse(call))

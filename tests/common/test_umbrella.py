"""`emofuse` and its subcommands: `-h` works everywhere, and no summary is cut."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from emofuse.common.cli.help_pages import FOLDER, help_pages
from emofuse.common.output.verbosity import Verbosity, verbosity
from emofuse.common.umbrella import COMMANDS, load_command, main


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_every_command_has_h_quiet_and_verbose(name: str | None) -> None:
    group = main if name is None else load_command(name)
    subcommands = [[sub] for sub in group.commands] if isinstance(group, click.Group) else []
    for arguments in ([], *subcommands):
        result = CliRunner().invoke(main, [*([name] if name else []), *arguments, "-h"])
        assert (result.exit_code, "-h, --help" in result.output) == (0, True), result.output
        is_command = bool(name) and (bool(arguments) or not subcommands)
        assert ("  --quiet " in result.output and "  --verbose " in result.output) == is_command, result.output


def test_the_summary_of_every_store_command_is_whole() -> None:
    summaries = CliRunner().invoke(main, ["store", "-h"]).output.split("Commands:")[1]
    assert "  verify " in summaries
    assert "..." not in summaries


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["train"], "fit"),
        (["corpora"], "manifest --list"),
        (["info"], "store info"),
        (["compar"], "compare"),
        (["store", "compare"], "diff"),
        (["store", "nfo"], "info"),
    ],
)
def test_an_unknown_command_is_answered_with_the_one_of_its_meaning(typed: list[str], meant: str) -> None:
    result = CliRunner().invoke(main, typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no command named {typed[-1]!r}. Did you mean {meant!r}? Valid: " in result.stderr


def test_a_word_without_a_meaning_only_lists_the_commands() -> None:
    assert "no command named 'xyzzy'. Valid: compare, " in CliRunner().invoke(main, ["xyzzy"]).stderr


@pytest.mark.parametrize("name", ["extract", "fit"])
def test_every_script_says_its_version(name: str) -> None:
    asked = CliRunner().invoke(load_command(name), ["--version"])
    assert (asked.exit_code, asked.stdout) == (0, CliRunner().invoke(main, ["--version"]).stdout)
    assert asked.stdout.startswith("emofuse, version ")


def test_quiet_and_verbose_exclude_each_other_and_end_with_the_command() -> None:
    refused = CliRunner().invoke(main, ["help", "--quiet", "--verbose"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--quiet and --verbose contradict each other: give one of the two" in refused.stderr
    assert CliRunner().invoke(main, ["help", "--quiet"]).exit_code == 0
    assert verbosity() is Verbosity.NORMAL


def test_help_lists_the_pages_and_prints_one() -> None:
    listed = CliRunner().invoke(main, ["help"]).stdout
    pages = help_pages()
    assert all(f"\n{name} " in listed for name in pages)
    printed = CliRunner().invoke(main, ["help", "protocols"])
    assert printed.stdout == pages["protocols"].read_text(encoding="utf-8")
    assert CliRunner().invoke(main, ["help", "fit"]).stdout.startswith("Usage: emofuse fit [OPTIONS]")
    unknown = CliRunner().invoke(main, ["help", "protokols"])
    assert (unknown.exit_code, "Did you mean 'protocols'?" in unknown.stderr) == (2, True)


def test_no_two_pages_have_one_name() -> None:
    assert len(help_pages()) == len([*FOLDER.rglob("*.md")])

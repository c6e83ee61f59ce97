"""The command or the call that runs is known to what records it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner

from emofuse.common.cli.command_line import RecordedCommand, command_line, python_call


@dataclass(frozen=True, kw_only=True)
class Options:
    store: Path
    folds: tuple[int, ...] = ()
    seed: int = 0


def test_a_command_is_recorded_as_it_was_typed() -> None:
    found = []

    @click.command("fit", cls=RecordedCommand)
    @click.option("--store", multiple=True)
    @click.argument("rest", nargs=-1)
    def command(store: tuple[str, ...], rest: tuple[str, ...]) -> None:
        with python_call("fit", Options(store=Path("other"))):
            found.append(command_line())

    arguments = ["--store", "a b.h5", "--store=c.h5", "--", "-x", "bad\udcff"]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert found == [["fit", *arguments[:-1], "bad\N{REPLACEMENT CHARACTER}"]]
    found.clear()
    assert CliRunner().invoke(command, ["--store", "https://me:pass@host/a.h5?sig=1"]).exit_code == 0
    assert found == [["fit", "--store", "https://host/a.h5"]]


def test_a_call_is_recorded_by_the_options_that_are_not_the_defaults() -> None:
    with python_call("fit", Options(store=Path("a.h5"), folds=(1, 2))):
        assert command_line() == {"fit": {"store": "a.h5", "folds": [1, 2]}}
    assert command_line() is None

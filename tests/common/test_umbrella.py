"""`emofuse` and its subcommands: `-h` works everywhere, and no summary is cut."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from emofuse.common.umbrella import COMMANDS, load_command, main


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_h_is_help_in_every_command(name: str | None) -> None:
    group = main if name is None else load_command(name)
    subcommands = [[sub] for sub in group.commands] if isinstance(group, click.Group) else []
    for arguments in ([], *subcommands):
        result = CliRunner().invoke(main, [*([name] if name else []), *arguments, "-h"])
        assert (result.exit_code, "-h, --help" in result.output) == (0, True), result.output


def test_the_summary_of_every_store_command_is_whole() -> None:
    summaries = CliRunner().invoke(main, ["store", "-h"]).output.split("Commands:")[1]
    assert "  verify " in summaries
    assert "..." not in summaries

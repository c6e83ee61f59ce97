"""`emofuse store`: every subcommand that inspects, compares, changes or exchanges stores."""

from __future__ import annotations

import importlib

import click

from emofuse.common.cli.command_group import CommandGroup
from emofuse.common.output.console import HELP_OPTIONS
from emofuse.store.commands import compare, edit, exchange, inspect, show

ELSEWHERE = {"explore": "emofuse.report.commands.explore:explore"}
"""Subcommands of packages that this one must not import, imported when they are asked for."""
MEANT = {
    **dict.fromkeys(("compare", "difference"), "diff"),
    **dict.fromkeys(("check", "validate", "repair", "fix"), "verify"),
    **dict.fromkeys(("list", "utterances"), "ls"),
    **dict.fromkeys(("describe", "features", "stat"), "info"),
    **dict.fromkeys(("remove", "delete", "drop"), "rm"),
    **dict.fromkeys(("shrink", "subset", "cp", "clone", "download"), "copy"),
    **dict.fromkeys(("join", "concat", "combine"), "merge"),
    **dict.fromkeys(("compact", "compress"), "repack"),
    **dict.fromkeys(("plot", "view", "report"), "explore"),
    **dict.fromkeys(("convert", "to"), "export"),
    **dict.fromkeys(("load", "from"), "import"),
}
"""Words that are no subcommand -> the one that has this meaning."""


class StoreGroup(CommandGroup):
    """A click group with the subcommands of `ELSEWHERE`."""

    meant = MEANT

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands, by name."""
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A subcommand by its name."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute = ELSEWHERE[cmd_name].split(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found


@click.group(cls=StoreGroup, context_settings=HELP_OPTIONS)
def store() -> None:
    """Inspect, compare, check, change, explore and exchange stores."""


for subcommand in (
    *(inspect.info, inspect.ls, show.show, compare.diff, compare.card),
    *(edit.verify, edit.merge, edit.copy, edit.rm, edit.repack, edit.add),
    *(exchange.export, exchange.import_),
):
    store.add_command(subcommand)

"""`emofuse store`: every subcommand that inspects, compares, changes or exchanges stores."""

from __future__ import annotations

import click

from emofuse.common.console import HELP_OPTIONS
from emofuse.store.commands import compare, edit, exchange, inspect, show


@click.group(context_settings=HELP_OPTIONS)
def store() -> None:
    """Inspect, compare, check, change and exchange stores."""


for subcommand in (
    *(inspect.info, inspect.ls, show.show, compare.diff, compare.card),
    *(edit.verify, edit.merge, edit.copy, edit.rm, edit.repack, edit.add),
    *(exchange.export, exchange.import_),
):
    store.add_command(subcommand)

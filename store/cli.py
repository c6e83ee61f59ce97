"""`emofuse store`: every verb that looks into stores, checks, changes and exchanges them."""

from __future__ import annotations

import click

from emofuse.store import cli_change, cli_compare, cli_exchange, cli_look


@click.group()
def store() -> None:
    """Look into stores, check them, change them, exchange them."""


for verb in (
    *(cli_look.info, cli_look.ls, cli_look.show, cli_compare.diff, cli_compare.card),
    *(cli_change.verify, cli_change.merge, cli_change.copy, cli_change.rm, cli_change.repack, cli_change.add),
    *(cli_exchange.export, cli_exchange.import_),
):
    store.add_command(verb)

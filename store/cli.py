"""`emofuse store`: every verb that looks into stores, checks, changes and exchanges them."""

from __future__ import annotations

import click

from emofuse.store import cli_change, cli_look


@click.group()
def store() -> None:
    """Look into stores, check them, change them, exchange them."""


for verb in (
    cli_look.info,
    *(cli_change.verify, cli_change.merge, cli_change.copy, cli_change.rm, cli_change.repack, cli_change.add),
):
    store.add_command(verb)

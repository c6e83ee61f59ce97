"""`emofuse store`: every verb that looks into stores, checks, changes and exchanges them."""

from __future__ import annotations

import click

from emofuse.store.commands import compare, edit, exchange, inspect


@click.group()
def store() -> None:
    """Look into stores, check them, change them, exchange them."""


for verb in (
    *(inspect.info, inspect.ls, inspect.show, compare.diff, compare.card),
    *(edit.verify, edit.merge, edit.copy, edit.rm, edit.repack, edit.add),
    *(exchange.export, exchange.import_),
):
    store.add_command(verb)

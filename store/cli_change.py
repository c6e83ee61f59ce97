"""`emofuse store verify`, `merge`, `copy`, `rm`, `repack`, `add`: check stores and make new ones of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from emofuse.common.console import printable, size
from emofuse.common.errors import DAMAGED, command


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@command
def verify(file: Path) -> None:
    """Read every value of FILE against its checksum; exit code 3 when something is damaged."""
    from emofuse.store.verify import verify as verify_store

    found = verify_store(file)
    for f in found:
        state = "sound" if f.sound else f"{len(f.damaged)} damaged" if f.damaged else "not complete"
        print(f"{printable(f.feature)}: {f.utterances} utterances, {size(f.bytes)} read, {state}")
        for id in f.damaged:
            print(f"  damaged: {printable(id)}")
        if f.stale:
            print(f"  {len(f.stale)} utterances are stale (audio or text has changed); `extract` computes them again")
    if not all(f.sound for f in found):
        print("delete the file or extract the damaged features again under another --store", file=sys.stderr)
        sys.exit(DAMAGED)

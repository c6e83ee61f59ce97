"""The command `emofuse encoders`: all encoders with their size, licence, and whether their weights are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import command
from emofuse.common.output.console import HELP_OPTIONS, format_table, printable, say, say_json

if TYPE_CHECKING:
    from emofuse.extract.encoders.encoder_list import EncoderRow

weights_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("weights"),
    show_default=True,
    help="A folder of downloaded weights, beside the hub's cache.",
)


@click.command(context_settings=HELP_OPTIONS)
@weights_folder
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@verbosity_options
@command
def encoders(folder: Path, as_json: bool) -> None:
    """List all encoders: dimension, frame rate, parameters, layers, licence, download, and whether weights are here.

    Example: emofuse encoders
    """
    from emofuse.extract.encoders.encoder_list import listed_rows

    rows = listed_rows(folder)
    say_json([_facts(row) for row in rows]) if as_json else say(_table(rows, folder))


def _facts(row: EncoderRow) -> dict[str, Any]:
    facts = asdict(row)
    size = facts.pop("size")
    return {**facts, **size}


def _table(rows: Sequence[EncoderRow], folder: Path) -> str:
    cells = [_cells(row, folder) for row in rows]
    header = ("encoder", "modality", "dimension", "Hz", "M parameters", "layers", "licence", "MB", "weights")
    return (
        format_table(header, cells)
        + "\n\nHz: frames per second; text has a frame per token, and functionals one per clip. Parameters: of the part"
        "\nthat encodes. MB: the download, about. -: depends on the weights that you name, or does not apply. Weights:"
        f"\nhere: `extract` finds them; folder: in {printable(str(folder), 200)}, for --weights; yours: you name them."
        "\n`emofuse get-weights NAME` brings them; --json says what each encoder is and where its weights are."
    )


def _cells(row: EncoderRow, folder: Path) -> tuple[str, ...]:
    size = row.size
    where = row.weights if row.weights in ("none needed", "missing", "yours") else "here"
    if where == "here" and Path(row.weights).is_relative_to(folder):
        where = "folder"
    return (
        row.name,
        row.modality,
        str(size.dimension or "-"),
        f"{size.frame_rate:g}" if size.frame_rate else "-",
        "-" if size.parameters is None else f"{size.parameters / 1e6:.1f}" if size.parameters else "0",
        str(size.layers or "-"),
        row.licence or "-",
        str(row.megabytes or "-"),
        where,
    )

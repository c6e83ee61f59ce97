"""The command `emofuse store explore`: options -> one `ExploreConfig` -> one library call -> exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, command
from emofuse.common.location import LocationType
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.page.options import audio_root_option, no_text_option, open_option, page_format_option
from emofuse.report.commands.options import maps_option

PATH = click.Path(path_type=Path)


@click.command(
    context_settings={**HELP_OPTIONS, "show_default": True}, short_help="Draw what a store and its features hold."
)
@click.argument("stores", nargs=-1, required=True, metavar="STORE...", type=LocationType())
@click.option(
    "--feature",
    multiple=True,
    metavar="NAME",
    help="Pool this feature; may be repeated.  [default: every feature that all stores have]",
)
@click.option("--layer", type=int, help="Of a feature with several layers.  [default: the mean of all]")
@click.option("--run", metavar="RUN", type=PATH, help="Explain the errors of this finished run.")
@audio_root_option
@click.option("--protocol", metavar="NAME", help="Explore the classes and utterances of this task.")
@click.option(
    "--limit",
    type=click.IntRange(min=10),
    default=2000,
    metavar="N",
    help="Pool, project and probe at most this many utterances, a stratified sample.",
)
@page_format_option
@click.option(
    "--out",
    metavar="PATH",
    type=PATH,
    help="The file of the page, or the folder of the charts or tables.  [default: beside STORE]",
)
@open_option
@no_text_option
@maps_option
@verbosity_options
@command
def explore(**options: Any) -> None:
    """Draw what STORE holds: classes, durations, duplicates, and whether its features carry emotions or speakers.

    With --audio-root also noise, clipping and level of the recordings; with --run what the errors of a run correlate
    with.

    Several stores must be of different corpora; the corpus is then a colour and a probe.

    Example: emofuse store explore cache/emodb.h5 --feature whisper --audio-root emodb
    """
    from emofuse.report.exploration.explore import explore as run_exploration
    from emofuse.report.exploration.explore_config import ExploreConfig

    run_exploration(ExploreConfig(**options), say=say)
    sys.exit(DONE)

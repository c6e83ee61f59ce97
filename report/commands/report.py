"""The command `emofuse report`: options -> one `ReportConfig` -> one library call -> exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, command
from emofuse.common.location import LocationType
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.verbosity import stage
from emofuse.common.page.options import audio_root_option, no_text_option, open_option, page_format_option
from emofuse.report.commands.options import maps_option


@click.command(context_settings={**HELP_OPTIONS, "show_default": True})
@click.argument("path", metavar="RUN|FOLDER", type=click.Path(path_type=Path))
@page_format_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file of the page, or the folder of the charts or tables.  [default: report.html in RUN or FOLDER; "
    "NAME-FORMAT beside it]",
)
@open_option
@click.option(
    "--store",
    multiple=True,
    type=LocationType(),
    help="Where a store of the run is now, if it has moved or is remote; can be repeated.",
)
@click.option(
    "--weights",
    metavar="WHAT",
    help="The weights of the run's text encoder, for its tokenizer.  [default: those that the store has recorded]",
)
@audio_root_option
@click.option("--embed-audio", is_flag=True, help="Put short recordings into the page itself, up to 1.5 MB.")
@no_text_option
@click.option("--no-models", is_flag=True, help="Leave out what the trained models show: faster, and needs no store.")
@maps_option
@verbosity_options
@command
def report(**options: Any) -> None:
    """Show a finished run, or a folder of runs, as a page for a browser.

    The page is one file that needs no network: it can be mailed, printed and opened anywhere. Of a run it shows
    scores, groups, mistakes, and what the models weigh; of a folder of runs a ranking for each protocol.

    Example: emofuse report runs/iemocap4-smcn-1a2b3c4d --audio-root corpora/iemocap --open
    """
    with stage("loading libraries"):
        from emofuse.report.api import report as write_report
        from emofuse.report.config import ReportConfig

    write_report(ReportConfig(**options), say=say)
    sys.exit(DONE)

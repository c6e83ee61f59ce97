"""The command `emofuse compare`: options -> one `CompareConfig` -> one library call -> exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, UsageError, command
from emofuse.common.location import LocationType
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.formats import PICTURES, TABLES
from emofuse.common.output.verbosity import stage
from emofuse.common.page.options import audio_root_option, no_text_option, open_option

FOLDER = click.Path(path_type=Path)


@click.command(context_settings={**HELP_OPTIONS, "show_default": True})
@click.argument("runs", nargs=-1, metavar="RUN RUN...", type=FOLDER)
@click.option("--baseline", metavar="RUN", type=FOLDER, help="Compare every run with this one only, not every pair.")
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME,...",
    help="Metrics to compare: wa, ua, wf1, macro_f1, micro_f1, mcc.  [default: the protocol's, then ua, wa, wf1]",
)
@click.option(
    "--unit",
    type=click.Choice(["auto", "speaker", "session", "dialogue", "utterance"]),
    default="auto",
    help="What the test exchanges and the intervals draw; auto: speakers where the protocol keeps them apart, else "
    "what it holds out.",
)
@click.option(
    "--missing-as-wrong",
    is_flag=True,
    help="Compare runs also where one lacks features: what it could not test counts as wrong.",
)
@click.option(
    "--format",
    type=click.Choice(["table", "json", *TABLES, *PICTURES]),
    default="table",
    help="Of the output; svg, png and pdf write each chart of the page into the folder --out.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write this file instead of printing. With csv, md and latex, a folder that exists gets each table of the "
    "page.",
)
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Also write a page for a browser.")
@click.option(
    "--store",
    multiple=True,
    type=LocationType(),
    help="Where a store of the runs is now, if it has moved or is remote: the page has its texts; can be repeated.",
)
@audio_root_option
@no_text_option
@open_option
@verbosity_options
@command
def compare(as_json: bool, **options: Any) -> None:
    """Test whether finished runs differ beyond chance, on the test utterances that they share.

    With --html, a page shows the differences, where each run is better, and the utterances that only one gets right.

    Example: emofuse compare runs/iemocap4-smcn-1a2b3c4d runs/iemocap4-concat-5e6f7a8b --html smcn-concat.html
    """
    with stage("loading libraries"):
        from emofuse.train.comparison.compare import compare as run_compare
        from emofuse.train.comparison.compare_config import CompareConfig

    if as_json and options["format"] not in ("table", "json"):
        raise UsageError(f"--json and --format {options['format']}: give one of them")
    options |= {"format": "json"} if as_json else {}
    run_compare(CompareConfig(**options), say=say)
    sys.exit(DONE)

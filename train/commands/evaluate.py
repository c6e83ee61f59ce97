"""The command `emofuse evaluate`: options -> one `EvaluateConfig` -> one library call -> exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.command_line import RecordedCommand
from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, EXCLUDED, command
from emofuse.common.location import LocationType
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.verbosity import stage
from emofuse.train.commands.options import device_option


@click.command(cls=RecordedCommand, context_settings={**HELP_OPTIONS, "show_default": True})
@click.option("--run", required=True, type=click.Path(path_type=Path), help="The folder of a finished run.")
@click.option("--store", required=True, type=LocationType(), help="The store to test it on, a file or a URL.")
@click.option(
    "--map",
    multiple=True,
    metavar="OURS=THEIRS",
    help="A class of the run, then the label of the store that means it: hap=happiness; can be repeated. Equal names "
    "need no map.",
)
@click.option("--ignore", multiple=True, metavar="LABEL", help="A label of the store to leave out; can be repeated.")
@click.option(
    "--protocol",
    help="The protocol whose labels the store has.  [default: the corpus's default one, or its labels as they are]",
)
@click.option("--fold", type=click.IntRange(min=1), help="Use the models of this fold.  [default: the mean of all]")
@click.option("--refit", is_flag=True, help="Use the final model, trained on all data (fit --final).")
@click.option(
    "--allow-duplicates", is_flag=True, help="Continue where the run was trained on some of the store's audio."
)
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder of the results.  [default: runs/NAME-on-NAME-DIGEST]"
)
@verbosity_options
@command
def evaluate(**options: Any) -> None:
    """Test a finished run on another store without training; the results are in a folder like that of a run.

    Example: emofuse evaluate --run runs/iemocap4-smcn-1a2b3c4d --store cache/savee.h5 --map ang=anger
    """
    with stage("loading libraries"):
        from emofuse.train.evaluation.config import EvaluateConfig
        from emofuse.train.evaluation.evaluate import evaluate as run_evaluate

    finished = run_evaluate(EvaluateConfig(**options), say=say)
    sys.exit(EXCLUDED if finished.excluded else DONE)

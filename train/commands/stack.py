"""The command `emofuse stack`: options -> one `StackConfig` -> one library call -> exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.command_line import RecordedCommand
from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, command
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.verbosity import stage


@click.command(cls=RecordedCommand, context_settings={**HELP_OPTIONS, "show_default": True})
@click.argument("members", nargs=-1, required=True, metavar="RUN RUN ...", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder of the results.  [default: runs/PROTOCOL-stack-DIGEST]"
)
@click.option("--report/--no-report", default=True, help="Write report.html and confusion.png.")
@verbosity_options
@command
def stack(**options: Any) -> None:
    """Combine finished runs of one task: a logistic regression over their probabilities, fitted on validation sides.

    Example: emofuse stack runs/emodb4-linear-1a2b3c4d runs/emodb4-audio-5e6f7a8b
    """
    with stage("loading libraries"):
        from emofuse.train.stacking.config import StackConfig
        from emofuse.train.stacking.stack import stack as run_stack

    run_stack(StackConfig(**options), say=say)
    sys.exit(DONE)

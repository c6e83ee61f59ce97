"""The command `emofuse verify`: check finished runs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DAMAGED, DONE, command
from emofuse.common.output.console import HELP_OPTIONS, plural, printable, say, say_json
from emofuse.common.output.verbosity import stage
from emofuse.common.problems import Problems

if TYPE_CHECKING:
    from emofuse.train.runs.verification.verify import RunVerification


@click.command(context_settings=HELP_OPTIONS)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list: one object per run.")
@verbosity_options
@command
def verify(runs: tuple[Path, ...], as_json: bool) -> None:
    """Check run folders: files, scores and weights; names everything that was altered, is missing or was added.

    All files are compared with their digests, and all weights are loaded. Scores, groups and calibration are
    recomputed from predictions.csv and utterances.csv; the rest of metrics.json, such as intervals, has its digest
    alone. The exit code is 3 if a run is not as `fit` left it.

    Example: emofuse verify runs/iemocap4-smcn-1a2b3c4d
    """
    with stage("loading libraries"):
        from emofuse.train.runs.finished_run import refuse_other_folders
        from emofuse.train.runs.verification.verify import verify_run

    unusable = Problems()
    for folder in runs:
        with unusable.collecting():
            refuse_other_folders(folder)
    unusable.raise_all()
    found = []
    for folder in runs:
        found.append(verify_run(folder))
        if not as_json:
            _report(found[-1])
    if as_json:
        say_json([{**asdict(f), "folder": str(f.folder), "right": not f.problems} for f in found])
    sys.exit(DAMAGED if any(f.problems for f in found) else DONE)


def _report(found: RunVerification) -> None:
    say(f"{found.folder}: {plural(len(found.problems), 'problem') if found.problems else 'right'}")
    for line in found.problems or found.checked:
        say(f"  - {printable(line, 400)}")

"""The command `emofuse doctor`: what works on this machine, what does not, and what cures it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, command
from emofuse.common.output.console import HELP_OPTIONS, plural, printable, say, say_json, warn
from emofuse.extract.commands.encoders import weights_folder

if TYPE_CHECKING:
    from emofuse.extract.doctor import Finding

BROKEN = 1
"""The exit code where something that a command needs is broken."""


@click.command(context_settings=HELP_OPTIONS)
@click.option(
    "--stores",
    type=click.Path(path_type=Path),
    default=Path("cache"),
    show_default=True,
    help="The folder of stores.",
)
@weights_folder
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, for a report of a bug.")
@verbosity_options
@command
def doctor(stores: Path, folder: Path, as_json: bool) -> None:
    """Check this machine: packages, device, memory, disk, weights, corpora and stores; each problem with its cure.

    Exit code 0: nothing is broken; 1: something is. Nothing is changed.

    Example: emofuse doctor --json > doctor.json
    """
    from emofuse.extract.doctor import examine

    findings = []
    for finding in examine(stores, folder, warn):
        findings.append(finding)
        if not as_json:
            _print(finding, first=len(findings) == 1 or findings[-2].section != finding.section)
    broken = sum(finding.state == "broken" for finding in findings)
    if as_json:
        say_json({"broken": broken, "findings": [asdict(finding) for finding in findings]})
    else:
        notes = sum(finding.state == "note" for finding in findings)
        say(f"\n{plural(broken, 'problem')}, {plural(notes, 'note')}")
    sys.exit(BROKEN if broken else DONE)


def _print(finding: Finding, first: bool) -> None:
    if first:
        say(f"\n{finding.section}")
    mark = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}[finding.state]
    say(f"  {mark}  {printable(finding.name)}: {printable(finding.found, 400)}")
    if finding.cure:
        say(f"          -> {printable(finding.cure, 400)}")

"""The command `emofuse reproduce`: run a published table and print our figures beside the published ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.command_line import RecordedCommand
from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, EXCLUDED, UsageError, command, raise_problems
from emofuse.common.location import LocationType
from emofuse.common.output.console import HELP_OPTIONS, printable, say, say_json
from emofuse.common.output.formats import PICTURES
from emofuse.common.output.verbosity import stage
from emofuse.train.commands.options import (
    JobsType,
    allow_duplicates_option,
    allow_missing_option,
    device_option,
    folds_option,
    scheduler_option,
    threads_option,
)

if TYPE_CHECKING:
    from emofuse.train.papers.published_table import Table


@click.command(cls=RecordedCommand, context_settings={**HELP_OPTIONS, "show_default": True})
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="List all tables.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print everything as JSON.")
@click.option("--store", "stores", multiple=True, type=LocationType(), help="A store, one per corpus; can be repeated.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="Number of seeds, starting at 0.")
@folds_option
@click.option("--only", multiple=True, metavar="ROW", help="Run this row only, by its printed name; can be repeated.")
@click.option(
    "--substitute",
    multiple=True,
    metavar="OLD=NEW,...",
    help="Use other features or protocols than the paper: hubert=logmel-smcn,bert=minilm; can be repeated.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Training steps per fold, for a short run.")
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="Training passes per fold, for a short run."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most this many utterances, for a short run.")
@allow_missing_option
@allow_duplicates_option
@device_option
@click.option("--jobs", type=JobsType(), default="auto", help="Processes that train folds, of all rows, in parallel.")
@scheduler_option
@threads_option
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), help="The folder of runs and tables.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(PICTURES),
    multiple=True,
    default=["png"],
    help="The format of the figure, for a table that draws one; can be repeated.",
)
@verbosity_options
@command
def reproduce(
    name: str | None, listed: bool, as_json: bool, substitute: tuple[str, ...], out: Path, **options: object
) -> None:
    """Run a published table and print our figures beside the published ones.

    An interrupted table resumes where it stopped; rows that several tables share are run once.

    Example: emofuse reproduce mmrbn-table1 --store cache/iemocap.h5
    """
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()
    from emofuse.train.papers import published_table as tables

    if as_json and not listed:
        raise UsageError("--json belongs to --list: emofuse reproduce --list --json")
    if listed:
        say_json([_table_facts(t) for t in map(tables.load, tables.names())]) if as_json else say(_table_list())
        return
    if name is None:
        raise UsageError(f"which table? Valid: {', '.join(tables.names())} (--list describes each)")
    with stage("loading libraries"):
        from emofuse.train.papers.output import table_text
        from emofuse.train.papers.reproduce import reproduce as run_table
        from emofuse.train.papers.table_request import TableRequest, parse_substitutes

    substitutes = parse_substitutes(",".join(substitute) or None)
    request = TableRequest(table=tables.load(name), substitute=substitutes, runs=out, **options)  # type: ignore[arg-type]
    made = run_table(request, say)
    folder, results = printable(str(made.folder), 400), made.results
    say(f"\n{table_text.screen(results)}\n\ntables: {folder}/table.csv, table.md, table.tex")
    if made.pictures:
        say(f"figure: {folder}/{', '.join(path.name for path in made.pictures)}")
    if made.page:
        say(f"page: {folder}/{made.page.name}")
    raise_problems([*results.diverged.values()], "these rows diverged and have no figures")
    sys.exit(EXCLUDED if results.excluded else DONE)


def _table_facts(t: Table) -> dict[str, Any]:
    """What `--list` says of a table, JSON-ready."""
    return {
        "name": t.name,
        "paper": t.paper,
        "where": t.where,
        "about": t.about,
        "protocols": [task.protocol for task in t.tasks],
        "features": list(t.features),
        "rows": [{"name": r.name, "model": r.model, "ablation": r.ablation, "cited": r.cited} for r in t.rows],
    }


def _table_list() -> str:
    from emofuse.train.papers import published_table as tables

    lines, paper = [], ""
    for t in map(tables.load, tables.names()):
        rows = sum(not r.cited for r in t.rows)
        lines += [f"\n{t.paper}"] if t.paper != paper else []
        lines.append(f"  {t.name:15} {t.where}, {rows} row{'s' * (rows > 1)} to run: {t.about}")
        lines.append(f"  {'':15} on {', '.join(task.protocol for task in t.tasks)}; features {', '.join(t.features)}")
        paper = t.paper
    return "\n".join(lines).lstrip()

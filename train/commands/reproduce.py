"""The command `emofuse reproduce`: a published table by its name -> our figures beside the printed ones."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from emofuse.common.console import say
from emofuse.common.errors import DONE, EXCLUDED, UsageError, command, complain
from emofuse.common.location import LocationType
from emofuse.train.commands.options import JobsType


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="Show every table.")
@click.option("--store", "stores", multiple=True, type=LocationType(), help="A store; one per corpus.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="How many seeds, from 0 on.")
@click.option("--folds", default="all", help="all, or numbers such as 1,3.")
@click.option("--only", multiple=True, metavar="ROW", help="A row by its printed name; several times.")
@click.option("--substitute", metavar="OLD=NEW,...", help="Run on what is at hand: hubert=logmel-smcn,bert=minilm.")
@click.option("--steps", type=click.IntRange(min=1), help="Shorter than the paper's: steps per fold.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Likewise: passes over the training side.")
@click.option("--limit", type=click.IntRange(min=1), help="Likewise: so many utterances at most.")
@click.option("--allow-missing", type=click.IntRange(min=0), default=0, help="Go on if counts are off by at most this.")
@click.option("--device", default="auto", help="auto, cpu or cuda:0.")
@click.option("--jobs", type=JobsType(), default="auto", help="Processes that train folds, of all rows, side by side.")
@click.option("--scheduler", metavar="ADDRESS", help="Have the workers of a Dask cluster train: tcp://HOST:8786.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each.  [default: the cores, shared out]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), help="Where runs and tables land.")
@command
def reproduce(name: str | None, listed: bool, substitute: str | None, out: Path, **options: object) -> None:
    """Run a published table and print ours beside theirs.

    A table that was interrupted goes on where it stopped; rows that other tables share are run once.

    Example: emofuse reproduce mmrbn-table1 --store cache/iemocap.h5
    """
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()
    from emofuse.train.papers import table as tables

    if listed:
        say(_list())
        return
    if name is None:
        raise UsageError(f"which table? Valid: {', '.join(tables.names())} (--list says what each is)")
    from emofuse.train.papers import render
    from emofuse.train.papers.reproduce import reproduce as run
    from emofuse.train.papers.request import TableRequest, pairs

    request = TableRequest(table=tables.load(name), substitute=pairs(substitute), runs=out, **options)  # type: ignore[arg-type]
    sheet, folder = run(request, say)
    say(f"\n{render.screen(sheet)}\n\ntables: {folder}/table.csv, table.md, table.tex")
    complain([*sheet.diverged.values()], "these rows diverged and have no figures")
    sys.exit(EXCLUDED if sheet.excluded else DONE)


def _list() -> str:
    from emofuse.train.papers import table as tables

    lines, paper = [], ""
    for t in map(tables.load, tables.names()):
        rows = sum(not r.cited for r in t.rows)
        lines += [f"\n{t.paper}"] if t.paper != paper else []
        lines.append(f"  {t.name:15} {t.where}, {rows} row{'s' * (rows > 1)} to run: {t.about}")
        lines.append(f"  {'':15} on {', '.join(task.protocol for task in t.tasks)}; features {', '.join(t.features)}")
        paper = t.paper
    return "\n".join(lines).lstrip()

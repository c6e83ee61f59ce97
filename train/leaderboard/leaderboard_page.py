"""The page of a folder of runs: a ranking for each group of runs that can be compared."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.charts.sparklines import sparklines
from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import plural, printable
from emofuse.common.page.blocks import Page
from emofuse.train.leaderboard import overview
from emofuse.train.leaderboard.group_section import group_section
from emofuse.train.leaderboard.run_entry import RunEntry
from emofuse.train.leaderboard.run_folders import Unread, find_runs, is_run
from emofuse.train.leaderboard.run_group import grouped
from emofuse.train.leaderboard.run_reader import RunReader
from emofuse.train.leaderboard.run_table import RunCells

GROUPS_WITH_CHARTS = 6
"""The largest groups have charts; those of hundreds of groups would take a minute to draw."""


def leaderboard_page(folder: Path, *, page_folder: Path | None = None) -> Page:
    """The page of all runs of a folder, also of those in folders below it.

    Runs are read without checking their digests, so hundreds take about a second; the page says so.

    Args:
        folder: A folder of runs, such as `runs`.
        page_folder: Where the page will be written; its links are relative to it. By default `folder`.

    Raises:
        UsageError: The folder does not exist, is a run itself, or has neither runs nor unfinished ones; or the extra
            `report` is not installed.
    """
    runs, unread = read_runs(folder)
    groups = grouped(runs)
    several, alone = [g for g in groups if len(g.runs) > 1], [g for g in groups if len(g.runs) == 1]
    cells = RunCells(folder=folder, page_folder=page_folder or folder)
    sections = [overview.overview_section(several, alone, unread)]
    for number, group in enumerate(several, 1):
        drawn = number <= GROUPS_WITH_CHARTS
        lead = "" if drawn else f"Charts are drawn for the {GROUPS_WITH_CHARTS} largest groups alone."
        sections.append(group_section(group, cells, number, charts=drawn, lead=lead))
    sections += [overview.alone_section(alone, cells)] if alone else []
    sections += [overview.find_section(several, alone, cells)] if runs else []
    sections += [overview.unread_section(unread, cells)] if unread else []
    ordered = [run for group in (*several, *alone) for run in group.runs]
    sections.append(overview.notes_section(ordered, cells))
    return Page(
        title=f"Leaderboard: {printable(folder.resolve().name) or '/'}",
        subtitle=f"{plural(len(runs), 'run')}, {plural(len(groups), 'task')}",
        sections=sections,
        sparklines=sparklines(cells.sparklines),
    )


def read_runs(folder: Path) -> tuple[list[RunEntry], list[Unread]]:
    """The runs below a folder, and what looks like a run but cannot be read.

    Raises:
        UsageError: The folder does not exist, is a run itself, or has neither.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: pass a folder of runs, such as runs")
    if is_run(folder):
        raise UsageError(f"{folder} is a run itself, not a folder of runs: pass the folder that it is in")
    found, reader, runs = find_runs(folder), RunReader(), []
    for path in found.runs:
        try:
            runs.append(reader.read(path))
        except DataError as error:
            found.unread.append(Unread(folder=path, state="damaged", reason=str(error).replace(f"{path}/", "")))
    if not runs and not found.unread:
        raise UsageError(f"{folder} has no runs: pass the folder that `fit` puts runs into, such as runs")
    return runs, found.unread

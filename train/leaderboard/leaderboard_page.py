"""The page of a folder of runs: a ranking for each group of runs that can be compared."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.page.blocks import Page
from emofuse.train.runs.run_check import FILES


def leaderboard_page(folder: Path, *, page_folder: Path | None = None) -> Page:
    """The page of all runs of a folder, also of those in folders below it.

    Args:
        folder: A folder of runs, such as `runs`.
        page_folder: Where the page will be written; its links are relative to it. By default `folder`.

    Raises:
        UsageError: The folder does not exist, is a run itself, or has neither runs nor unfinished ones.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: pass a folder of runs, such as runs")
    if all((folder / name).is_file() for name in FILES):
        raise UsageError(f"{folder} is a run itself: pass the folder that it is in")
    return Page(title=f"Runs in {folder.name}", sections=[])

"""`report` from Python: a run or a folder of runs in, a page or its figures and tables out. The command calls it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, overload

from emofuse.common.charts.drawing import require_report_extra
from emofuse.common.errors import UsageError
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, format_size, printable, say
from emofuse.common.page.export import write_parts
from emofuse.common.page.links import open_page
from emofuse.report.built import BuiltPage
from emofuse.report.config import ReportConfig, ReportOptions
from emofuse.report.output import files_folder, page_path, write_page
from emofuse.train.fitting.file_names import RUN_FILES
from emofuse.train.leaderboard.leaderboard_page import leaderboard_page

LARGE = 3_000_000
"""Bytes from which on a page is slow to open and too large for many mailboxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `report` wrote."""

    files: tuple[Path, ...]
    """The page, or each figure or table."""
    remarks: tuple[str, ...]
    """What is not shown, and why."""


@overload
def report(config: ReportConfig, /, *, say: Say = say) -> Report: ...
@overload
def report(*, say: Say = say, **options: Unpack[ReportOptions]) -> Report: ...
def report(config: ReportConfig | None = None, /, *, say: Say = say, **options: Any) -> Report:
    """Write the page of a finished run, or of a folder of runs; or each of its figures or tables as a file.

    Args:
        config: All options in one record.
        say: Prints a line of the report; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `ReportConfig` documents them.

    Raises:
        UsageError: Wrong options, no run there, an unfinished run alone, or a missing package.
        DataError: A damaged run.
    """
    config = checked_config(ReportConfig, config, options, say)
    started = time.monotonic()
    _refuse_other_paths(config.path)
    require_report_extra()  # now, not after the models have been read
    if config.format == "html":
        path, remark = page_path(config.path, config.out)
        page_folder = path.parent
    else:
        path, remark = files_folder(config.path, config.format, config.out), None
        page_folder = config.path
    built = _build(config, page_folder, say)
    remarks = (*([remark] if remark else []), *built.remarks)
    for line in remarks:
        say(f"note: {printable(line, 400)}")
    if config.format != "html":
        files = write_parts(built.page, path, config.format, built.note)
        for file in files:
            say(printable(str(file), 400))
        return Report(files=tuple(files), remarks=remarks)
    size = write_page(built, path)
    say(f"page: {printable(str(path), 400)}, {format_size(size)}, {time.monotonic() - started:.1f} s")
    if size > LARGE:
        say(f"note: the page is larger than {format_size(LARGE)}: it may open slowly, and many mailboxes refuse it")
    if config.open:
        open_page(path, say)
    return Report(files=(path,), remarks=remarks)


def _refuse_other_paths(path: Path) -> None:
    """Refuse what is neither a run nor a folder of runs.

    Raises:
        UsageError: Says what it is, and what to pass.
    """
    expected = "pass the folder of a finished run, or a folder of runs"
    unfinished = path.with_name(f"{path.name}.part") if path.name else path
    shown = f"`emofuse report {path.parent}` lists it among the other runs"
    if path.name.endswith(".part"):
        raise UsageError(f"{path} is an unfinished run: run the same fit again to finish it; {shown}")
    if not path.exists() and unfinished.is_dir():
        raise UsageError(
            f"{path} is not finished, its folder is {unfinished}: run the same fit again to finish it; {shown}"
        )
    if not path.exists():
        raise UsageError(f"{path} does not exist: {expected}")
    if not path.is_dir():
        raise UsageError(f"{path} is a file: {expected}")


def _build(config: ReportConfig, page_folder: Path, say: Say) -> BuiltPage:
    if any((config.path / name).is_file() for name in RUN_FILES[1:]):
        from emofuse.report.run_report import build_run_page  # imports torch, which a folder of runs does not need

        return build_run_page(config, page_folder, say)
    return BuiltPage(page=leaderboard_page(config.path, page_folder=page_folder), folder=config.path)

"""`reproduce`: run a published table, and write our figures beside the paper's as tables and as a page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emofuse.common.charts.drawing import MISSING, has_report_extra, require_report_extra
from emofuse.common.disk.files import write_atomically
from emofuse.common.errors import UsageError
from emofuse.common.output.console import Say, say
from emofuse.common.page.render import render
from emofuse.train.data.loader import MAPPED
from emofuse.train.papers.figures import table_figure
from emofuse.train.papers.output import table_text
from emofuse.train.papers.output.row_marks import mark_differences
from emofuse.train.papers.output.table_page import table_page
from emofuse.train.papers.paper_figure import PaperFigure
from emofuse.train.papers.published_table import load, names
from emofuse.train.papers.results import ResultTable, result_row
from emofuse.train.papers.row_jobs import RowJob, plan_fits_of_table
from emofuse.train.papers.table_request import TableRequest
from emofuse.train.resolve.config import names_of
from emofuse.train.runs.finished_run import Diverged, FitOutcome
from emofuse.train.runs.processes.process_pool import IN_A_PROCESS
from emofuse.train.runs.reporting.console_report import EXCLUDED, NOTE, REDUCED
from emofuse.train.runs.training.cross_validation import DONE, RESUMES
from emofuse.train.runs.training.fit import ALREADY_DONE, RUN_FOLDER, fit_models

TABLE_PAGE = "table.html"
"""The page in a table's folder."""
REPORTED_STARTS = (f"{NOTE} ", f"{REDUCED} ", f"{EXCLUDED} ", f"{ALREADY_DONE}: ", f"{RUN_FOLDER}: ")
REPORTED_PHRASES = (DONE, RESUMES, MAPPED, IN_A_PROCESS)
"""The lines of `fit` that are reported: those that start with one text or contain the other."""
SAID_ONCE = (f"{NOTE} ", f"{REDUCED} ", f"{EXCLUDED} ")
"""The starts of lines that are reported once, however many rows have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The results of a table, and what a call wrote beside table.csv, table.md and table.tex."""

    results: ResultTable
    folder: Path
    pictures: tuple[Path, ...] = ()
    page: Path | None = None


def reproduce(request: TableRequest, say: Say = say) -> Reproduction:
    """Run the rows of a table that are not finished yet.

    A finished run is only read, and an interrupted one resumes. The files are written again after each row, so an
    interruption loses nothing. Several processes train folds of several rows at once. A row that diverges has no
    figures (`ResultTable.diverged` says why) and does not stop the others.

    Raises:
        UsageError: All problems of the request, before anything is trained.
    """
    _check_formats(request)
    plan = plan_fits_of_table(request)
    folder = folder_of(request)
    results = ResultTable(
        table=request.table,
        marks=request.marks(),
        conditions=_conditions(request, plan.jobs),
        skipped_tasks=plan.skipped_tasks,
        skipped_rows=plan.skipped_rows,
    )
    reports = _row_reports(plan.jobs, say)

    def record(number: int, outcome: FitOutcome) -> None:
        job = plan.jobs[number]
        key = job.task.protocol, job.row.name
        if isinstance(outcome, Diverged):
            results.diverged[key] = f"{job.row.name} on {job.config.protocol}: {outcome.reason}"
            reports[number](f"{NOTE} {outcome.reason}")
        else:
            results.finished[key] = result_row(results, job.row, job.task, outcome, job.notes)
            results.excluded |= set(outcome.excluded)
        _write(results, request, folder)

    fit_models([job.config for job in plan.jobs], reports, record)
    results.remarks += mark_differences(results)
    _write(results, request, folder)
    figure = table_figure.draw(results, plan.jobs, folder, say) if request.table.figure is not None else None
    pictures: tuple[Path, ...] = ()
    if not has_report_extra():
        results.remarks.append(f"No page{' and no picture' if figure else ''}: {MISSING}")
    elif figure:
        pictures = table_figure.write_pictures(figure, results, folder, request.formats)
    page = _write(results, request, folder, figure)
    return Reproduction(results=results, folder=folder, pictures=pictures, page=page)


def _check_formats(request: TableRequest) -> None:
    """Refuse pictures that cannot be made, before anything is trained.

    Raises:
        UsageError: The table draws no figure, or an extra is missing.
    """
    more = [format for format in request.formats if format != "png"]
    if more and request.table.figure is None:
        drawn = [name for name in names() if load(name).figure]
        raise UsageError(
            f"{request.table.name} draws no figure, so --format has no effect; {', '.join(drawn)} draw one"
        )
    if more:
        require_report_extra()


def _write(results: ResultTable, request: TableRequest, folder: Path, figure: PaperFigure | None = None) -> Path | None:
    """Write the tables, and the page where the extra `report` is installed.

    Returns:
        The page, if it was written.
    """
    table_text.write(results, folder)
    if not has_report_extra():
        return None
    page = table_page(results, folder, request.command(), figure)
    write_atomically(folder / TABLE_PAGE, render(page).encode())
    return folder / TABLE_PAGE


def folder_of(request: TableRequest) -> Path:
    """`runs/tables/NAME-DIGEST`: calls with different options have different folders."""
    options = {
        "marks": request.marks(),
        "seeds": request.seeds,
        "rows": [r.name for r in request.rows()],
        "stores": sorted(str(s.resolve()) if isinstance(s, Path) else str(s) for s in request.stores),
        "allow_missing": request.allow_missing,
        **({"allow_duplicates": True} if request.allow_duplicates else {}),
    }
    digest = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:6]
    return request.runs / "tables" / f"{request.table.name}-{digest}"


def _conditions(request: TableRequest, jobs: Sequence[RowJob]) -> dict[str, str]:
    """Protocol -> features, selection and seeds of its runs, in words."""
    conditions: dict[str, str] = {}
    for task in request.table.tasks:
        configs = [job.config for job in jobs if job.task is task]
        if not configs:
            continue
        features = list(dict.fromkeys(name for c in configs for names in (c.audio, c.text) for name in names_of(names)))
        seeds = "seed 0" if request.seeds == 1 else f"seeds 0 to {request.seeds - 1}"
        selection = "the last step, no validation" if task.select == "last" else "selected on validation, never on test"
        protocol = configs[0].protocol
        substitute = "" if protocol == task.protocol else f"protocol {protocol}, "
        conditions[task.protocol] = f"{substitute}features {', '.join(features)}; {selection}; {seeds}"
    return conditions


def _row_reports(jobs: Sequence[RowJob], say: Say) -> list[Say]:
    """For each row, a callback that reports the relevant lines of its fit under the row's name, each remark once."""
    last_title, said = "", set[str]()

    def report_under(title: str) -> Say:
        def report(line: str) -> None:
            nonlocal last_title
            if line in said:
                return
            if line.startswith(SAID_ONCE):
                said.add(line)
            if title != last_title:
                say(title)
                last_title = title
            if line.startswith(REPORTED_STARTS) or any(phrase in line for phrase in REPORTED_PHRASES):
                say(f"    {line}")

        return report

    titles = (f"{number}/{len(jobs)} {job.row.name} on {job.config.protocol}" for number, job in enumerate(jobs, 1))
    return [report_under(title) for title in titles]

"""`reproduce`: run a published table row by row, print ours beside theirs, and leave it as CSV, Markdown and LaTeX."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from emofuse.common.console import Say
from emofuse.train.papers import figures, render
from emofuse.train.papers.jobs import RowJob, work_of
from emofuse.train.papers.request import TableRequest
from emofuse.train.papers.results import Sheet, line
from emofuse.train.runs.run import Diverged, FitOutcome, fit_all


def reproduce(request: TableRequest, say: Say = print) -> tuple[Sheet, Path]:
    """Run what is still to run of a table; gives the filled sheet and the folder it was written to.

    A row whose run is finished already is only read, one that was interrupted goes on, and the files are written anew
    after each row, so nothing is lost by stopping. Where several processes train, they train several rows at once. A
    row that diverges has no figures (`Sheet.diverged` says why), and stops no other.

    Raises:
        UsageError: Everything that stands in the way, before anything is trained.
    """
    work = work_of(request)
    folder = folder_of(request)
    sheet = Sheet(
        table=request.table,
        marks=request.marks(),
        protocols=_conditions(request, work.jobs),
        left_out=work.tasks_left,
        skipped=work.rows_left,
    )

    says = _says(work.jobs, say)

    def told(number: int, outcome: FitOutcome) -> None:
        job = work.jobs[number]
        key = job.task.protocol, job.row.name
        if isinstance(outcome, Diverged):
            sheet.diverged[key] = f"{job.row.name} on {job.config.protocol}: {outcome.why}"
            says[number](f"note {outcome.why}")
        else:
            sheet.lines[key] = line(sheet, job.row, job.task, outcome, job.notes)
            sheet.excluded |= set(outcome.excluded)
        render.write(sheet, folder)

    fit_all([job.config for job in work.jobs], says, told)
    if request.table.figure is not None:
        sheet.remarks += figures.draw(request.table, sheet, work.jobs, folder, say)
        render.write(sheet, folder)
    return sheet, folder


def folder_of(request: TableRequest) -> Path:
    """`runs/tables/NAME-DIGEST`: what is asked otherwise never lands in the same folder."""
    about = {
        "marks": request.marks(),
        "seeds": request.seeds,
        "rows": [r.name for r in request.rows()],
        "stores": sorted(str(s.resolve()) if isinstance(s, Path) else s for s in request.stores),
        "allow_missing": request.allow_missing,
    }
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:6]
    return request.runs / "tables" / f"{request.table.name}-{digest}"


def _conditions(request: TableRequest, work: Sequence[RowJob]) -> dict[str, str]:
    found: dict[str, str] = {}
    for task in request.table.tasks:
        mine = [job.config for job in work if job.task is task]
        if not mine:
            continue
        names = list(dict.fromkeys(n for c in mine for n in (c.audio, c.text) if n))
        seeds = "seed 0" if request.seeds == 1 else f"seeds 0 to {request.seeds - 1}"
        chosen = "the last step, no validation" if task.select == "last" else "selected on validation, never on test"
        stand_in = "" if mine[0].protocol == task.protocol else f"protocol {mine[0].protocol}, "
        found[task.protocol] = f"{stand_in}features {', '.join(names)}; {chosen}; {seeds}"
    return found


def _says(jobs: Sequence[RowJob], say: Say) -> list[Say]:
    """For each row: of what its fit says, what a table's reader wants, remarks and warnings, below the row's name."""
    wanted = ("note ", "reduced ", "excluded ", "already done", "run: ")
    within = ("are done already", "goes on from step", "mapped into memory", "in a process of")
    last = ""

    def of(title: str) -> Say:
        def chosen(text: str) -> None:
            nonlocal last
            if title != last:
                say(title)
                last = title
            if text.startswith(wanted) or any(words in text for words in within):
                say(f"    {text}")

        return chosen

    every = enumerate(jobs, 1)
    return [of(f"{number}/{len(jobs)} {job.row.name} on {job.config.protocol}") for number, job in every]

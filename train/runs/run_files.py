"""The files that a run and an evaluation have in common."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.charts.drawing import has_report_extra, picture
from emofuse.common.disk import run_folder
from emofuse.common.disk.csv_table import CsvRow
from emofuse.common.disk.files import write_atomically
from emofuse.common.output.console import Say, printable
from emofuse.common.page.render import render
from emofuse.manifests.schema import Utterance
from emofuse.train.fitting.file_names import PAGE
from emofuse.train.fitting.scoring.score_test import HISTORY
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs import run_digests
from emofuse.train.runs.finished_run import CONFIG, METRICS, PREDICTIONS, UTTERANCES
from emofuse.train.runs.page.classes import confusion_drawing
from emofuse.train.runs.page.extras import PageExtras
from emofuse.train.runs.page.record import RunRecord, read_seed_metrics
from emofuse.train.runs.page.run_page import run_page
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.utterance_table import utterance_rows

CONFUSION = "confusion.png"
REPORT_FILES = (PAGE, CONFUSION)
NOT_WRITTEN = "report.html and confusion.png were not written: "


def write_run_files(
    folder: Path,
    plan: FitPlan,
    metrics: Mapping[str, Any],
    predictions: Sequence[CsvRow],
    say: Say,
    *,
    history: Sequence[Any] = (),
) -> None:
    """Write predictions, utterances, history (if there is one), metrics, report (if it is wanted) and digests.

    Args:
        folder: It has its config.json, and of several seeds the folder of each.
        plan: Its utterances are those of `predictions` and any others.
        metrics: The content of metrics.json.
        predictions: The rows of predictions.csv.
        say: Reports what could not be written.
        history: The rows of history.csv.
    """
    ids = [row["id"] for row in predictions]
    utterances = utterance_rows(plan.protocol, plan.utterances, ids, plan.shared.text_of)
    about = plan.utterances if plan.config.report else None
    write_files(folder, metrics, predictions, utterances, say, history=history, report_on=about)


def write_files(
    folder: Path,
    metrics: Mapping[str, Any],
    predictions: Sequence[CsvRow],
    utterances: Sequence[Mapping[str, str]],
    say: Say,
    *,
    history: Sequence[Any] = (),
    report_on: Iterable[Utterance] | None = (),
) -> None:
    """Write the files of a run that has no plan any more.

    Args:
        folder: It has its config.json, and of several seeds the folder of each.
        metrics: The content of metrics.json.
        predictions: The rows of predictions.csv.
        utterances: Those of utterances.csv.
        say: Reports what could not be written.
        history: The rows of history.csv.
        report_on: Utterances whose texts the report shows; None for no report.
    """
    run_folder.write_csv(folder / PREDICTIONS, predictions)
    run_folder.write_csv(folder / UTTERANCES, utterances)
    if history:
        run_folder.write_csv(folder / HISTORY, history)
    run_folder.write_json(folder / METRICS, metrics)
    if report_on is not None:
        record = RunRecord(
            name=_final(folder).name,
            metrics=metrics,
            config=run_folder.read_json(folder / CONFIG),
            predictions=predictions,
            utterances=utterances,
            history=history,
            parameters=metrics.get("parameters"),
            seed_metrics=read_seed_metrics(folder, metrics),
        )
        if why_not := write_report(folder, record, report_on):
            say(NOT_WRITTEN + why_not)
    run_digests.write_digests(folder)


def write_report(folder: Path, record: RunRecord, utterances: Iterable[Utterance]) -> str:
    """Write report.html and confusion.png; a fault in them never keeps a run from its end.

    Args:
        folder: The run folder; while it is written, its name ends with `.part`.
        record: What its files hold.
        utterances: Those of the run and any others, for their texts.

    Returns:
        Why they were not written, and what to do; empty where they were.

    Raises:
        OSError: The disk is full, or cannot be written to.
    """
    if not has_report_extra():
        return "install what they need with pip install 'emofuse[report]'"
    try:
        files = _drawn(folder, record, utterances)
    except Exception as error:  # whatever it is: the scores are worth more than their page
        reason = printable(" ".join(str(error).split()), 200)
        return f"{type(error).__name__}: {reason}. The scores are complete; emofuse report {_final(folder)} tries again"
    for name, content in files.items():
        write_atomically(folder / name, content)
    return ""


def _drawn(folder: Path, record: RunRecord, utterances: Iterable[Utterance]) -> dict[str, bytes]:
    """The content of the files of the report."""
    about = {u.id: u for u in utterances}
    texts = {id: u.text for id, u in about.items() if u.text}
    extras = PageExtras(texts=texts, about=about, more_command=shlex.join(["emofuse", "report", str(_final(folder))]))
    page = render(run_page(record, extras))
    files = {PAGE: page.encode()}
    if record.metrics["confusion"]:
        note = "; ".join(caveats(record.metrics))
        files[CONFUSION] = picture(confusion_drawing(record.metrics, shares=False), "png", note)
    return files


def _final(folder: Path) -> Path:
    """The folder under the name that it has when the run is finished."""
    return Path(*(part.removesuffix(".part") for part in folder.parts))

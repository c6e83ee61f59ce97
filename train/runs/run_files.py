"""The files that a run and an evaluation have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.console import Say
from emofuse.common.disk import run_folder
from emofuse.common.disk.csv_table import CsvRow
from emofuse.train.fitting.score_test import HISTORY
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs import run_digests
from emofuse.train.runs.finished_run import CONFIG, METRICS, PREDICTIONS, UTTERANCES
from emofuse.train.runs.reporting.report import HINT, write_report
from emofuse.train.runs.reporting.utterance_table import utterance_rows


def write_run_files(
    folder: Path,
    plan: FitPlan,
    metrics: Mapping[str, Any],
    predictions: Sequence[CsvRow],
    header: Sequence[str],
    say: Say,
    *,
    history: Sequence[Any] = (),
) -> None:
    """Write predictions, utterances, history (if there is one), metrics, report and digests.

    Args:
        folder: It has its config.json.
        plan: Its utterances are those of `predictions` and any others.
        metrics: The content of metrics.json.
        predictions: The rows of predictions.csv.
        header: The lines above the scores, for the report.
        say: Reports what could not be written.
        history: The rows of history.csv.
    """
    ids = [row["id"] for row in predictions]
    run_folder.write_csv(folder / PREDICTIONS, predictions)
    utterances = utterance_rows(plan.protocol, plan.utterances, ids, plan.shared.text_of)
    run_folder.write_csv(folder / UTTERANCES, utterances)
    if history:
        run_folder.write_csv(folder / HISTORY, history)
    run_folder.write_json(folder / METRICS, metrics)
    if not write_report(folder, header, metrics, run_folder.read_json(folder / CONFIG), history):
        say(HINT)
    run_digests.write_digests(folder)

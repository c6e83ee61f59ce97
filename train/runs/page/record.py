"""What the files of a finished run hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.train.fitting.score_test import HISTORY
from emofuse.train.runs.finished_run import METRICS, PREDICTIONS, Run

Rows = Sequence[Mapping[str, str]]
"""The rows of a CSV file: column -> text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run or an evaluation, as its files hold it; which keys they have depends on the version that wrote them."""

    name: str
    """Of the run folder."""
    metrics: Mapping[str, Any]
    """The content of metrics.json."""
    config: Mapping[str, Any]
    """The content of config.json."""
    predictions: Rows
    """The rows of predictions.csv: one per test utterance and seed."""
    utterances: Rows = ()
    """The rows of utterances.csv; none for a run of version 0.1.0."""
    history: Rows = ()
    """The rows of history.csv; none for an evaluation."""
    seed_metrics: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Seed -> the content of its metrics.json, of a run with several seeds."""

    @classmethod
    def read(cls, run: Run) -> RunRecord:
        """The record of a finished run."""
        folder, history = run.folder, run.folder / HISTORY
        several = run.metrics.get("seeds") is not None
        return cls(
            name=folder.resolve().name,
            metrics=run.metrics,
            config=run.config,
            predictions=run_folder.read_csv(folder / PREDICTIONS),
            utterances=run.utterances,
            history=run_folder.read_csv(history) if history.is_file() else (),
            seed_metrics={s: run_folder.read_json(f / METRICS) for s, f in run.seed_folders.items()} if several else {},
        )

"""What the files of a finished run hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.train.fitting.scoring.score_test import HISTORY
from emofuse.train.runs.finished_run import METRICS, PREDICTIONS, Run
from emofuse.train.runs.reporting.parameter_count import parameter_count

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
    parameters: int | None
    """Of the model of a fold; None of an evaluation."""
    seed_metrics: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Seed -> the content of its metrics.json; of one seed, that of the run."""

    @classmethod
    def read(cls, run: Run) -> RunRecord:
        """The record of a finished run.

        Raises:
            DataError: A file is missing or damaged.
        """
        folder, history = run.folder, run.folder / HISTORY
        return cls(
            name=folder.resolve().name,
            metrics=run.metrics,
            config=run.config,
            predictions=run_folder.read_csv(folder / PREDICTIONS),
            utterances=run.utterances,
            history=run_folder.read_csv(history) if history.is_file() else (),
            parameters=parameter_count(folder, run.metrics),
            seed_metrics=read_seed_metrics(folder, run.metrics),
        )

    @property
    def task(self) -> Mapping[str, Any]:
        """The settings that identify the run: `run` of config.json."""
        found: Mapping[str, Any] = self.config["run"]
        return found

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The protocol's fields."""
        found: Mapping[str, Any] = self.task["protocol"]
        return found

    @property
    def headline_metric(self) -> str:
        """The protocol's first metric, which also selects."""
        return str(self.protocol["metrics"][0])

    @property
    def seeds(self) -> int:
        """How many seeds were trained."""
        return len(self.metrics.get("seeds", (0,)))

    @property
    def tested(self) -> int:
        """How many utterances were tested."""
        return len(self.predictions) // self.seeds

    @property
    def folds(self) -> Sequence[Mapping[str, Any]]:
        """What result.json says of each fold, of the first seed."""
        folds: Sequence[Mapping[str, Any]] = next(iter(self.seed_metrics.values()))["folds"]
        return folds

    @property
    def has_folds(self) -> bool:
        """Whether there are several, so that scores can be pooled over them."""
        return len(self.folds) > 1

    @property
    def is_evaluation(self) -> bool:
        """Whether it tested a finished run, and trained nothing."""
        return "evaluation" in self.metrics


def read_seed_metrics(folder: Path, metrics: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Seed -> the content of its metrics.json, from the folders of several seeds.

    Raises:
        DataError: A file is missing or damaged.
    """
    seeds = metrics.get("seeds")
    if seeds is None:
        return {metrics["seed"]: metrics}
    return {seed: run_folder.read_json(folder / f"seed_{seed}" / METRICS) for seed in seeds}

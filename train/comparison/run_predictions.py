"""A finished run as arrays: what it predicted for each test utterance, under each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError
from emofuse.manifests.metrics import Labels
from emofuse.train.runs.finished_run import CONFIG, METRICS, PREDICTIONS, UTTERANCES, Run

Row = Mapping[str, str]
COLUMNS = ("id", "fold", "label", "prediction")
ROW_COLUMNS = ("id", "speaker", "session", "dialogue")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPredictions:
    """The test predictions of a run; n utterances, S seeds."""

    run: Run
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    """[n], sorted, so that equal test sides have equal orders."""
    labels: Labels
    """[n]"""
    predictions: Labels
    """[S, n]"""
    folds: NDArray[np.int64]
    """[n], the number of the fold that tests each utterance."""
    missing: int = 0
    """Utterances without a prediction, which count as wrong: their class number is that of no class, C."""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The fields of the run's protocol, from config.json."""
        return dict(self.run.config["run"]["protocol"])

    def utterance_rows(self) -> dict[str, Row]:
        """Id -> row of utterances.csv; empty for a run of a version that did not write it."""
        path = self.run.folder / UTTERANCES
        return {row["id"]: row for row in run_folder.read_csv(path, ROW_COLUMNS)} if path.is_file() else {}

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Fold -> its utterances in test and in training; empty for a run that trained nothing."""
        metrics = self.run.metrics
        if "seeds" in metrics:
            metrics = run_folder.read_json(self.run.seed_folders[self.seeds[0]] / METRICS)
        counted = {fold["fold"]: fold.get("utterances", {}) for fold in metrics.get("folds", [])}
        return {n: (count["test"], count["train"]) for n, count in counted.items() if count.get("train")}


def read_predictions(folder: Path | str) -> RunPredictions:
    """Open a finished run and read its predictions.

    Raises:
        UsageError: The folder is not a finished run.
        DataError: A file in it is damaged; names it.
    """
    run = Run.open(folder)
    _check_keys(run)
    path = run.folder / PREDICTIONS
    classes = tuple(run.metrics["classes"])
    seeds = _by_seed(path, run_folder.read_csv(path, COLUMNS), run.metrics.get("seed", 0))
    first = next(iter(seeds.values()))
    ids = tuple(sorted(first))
    for seed, rows in seeds.items():
        if set(rows) != set(ids) or any(_task(rows[i]) != _task(first[i]) for i in ids):
            raise _damaged(path, f"the utterances of seed {seed} are not those of seed {next(iter(seeds))}")
    ordered = [[rows[i] for i in ids] for rows in seeds.values()]
    return RunPredictions(
        run=run,
        classes=classes,
        seeds=tuple(seeds),
        ids=ids,
        labels=_class_numbers(path, ordered[0], "label", classes),
        predictions=np.array([_class_numbers(path, rows, "prediction", classes) for rows in ordered]),
        folds=np.array([int(row["fold"]) for row in ordered[0]], np.int64),
    )


def _check_keys(run: Run) -> None:
    """Refuse a run whose records lack what a comparison needs."""
    run_folder.read_json(run.folder / METRICS, ("protocol", "model", "classes", "metrics"))
    identity = run.config.get("run")
    if not isinstance(identity, Mapping) or not isinstance(identity.get("protocol"), Mapping):
        raise _damaged(run.folder / CONFIG, "it does not record the run's protocol")


def _by_seed(path: Path, rows: Sequence[Row], seed: int) -> dict[int, dict[str, Row]]:
    """Seed -> id -> row; `seed` is that of a run of one seed."""
    if not rows:
        raise _damaged(path, "it has no rows")
    found: dict[int, dict[str, Row]] = {}
    for number, row in enumerate(rows, 2):
        if not (str(row["fold"]).isdecimal() and str(row.get("seed", seed)).isdecimal()):
            raise _damaged(path, f"line {number} has no valid fold and seed")
        of_seed = found.setdefault(int(row.get("seed", seed)), {})
        if row["id"] in of_seed:
            raise _damaged(path, f"utterance {row['id']} occurs twice")
        of_seed[row["id"]] = row
    return found


def _task(row: Row) -> tuple[str, str]:
    return row["label"], row["fold"]


def _class_numbers(path: Path, rows: Sequence[Row], column: str, classes: Sequence[str]) -> Labels:
    number = {c: i for i, c in enumerate(classes)}
    unknown = [row for row in rows if row[column] not in number]
    if unknown:
        raise _damaged(path, f"{column} {unknown[0][column]!r} of {unknown[0]['id']} is not a class of the run")
    return np.array([number[row[column]] for row in rows], np.int64)


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is damaged: {reason}; run the same fit again with another --out")

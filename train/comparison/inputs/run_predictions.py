"""A finished run as arrays: what it predicted for each test utterance, under each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk import run_folder
from emofuse.common.errors import damage_error
from emofuse.manifests.metrics.scores import Labels
from emofuse.manifests.targets.scoring import statistics
from emofuse.manifests.targets.target import Target
from emofuse.train.comparison.inputs.seed_predictions import SeedPredictions, of_classes
from emofuse.train.fitting.scoring import prediction_table as table
from emofuse.train.fitting.scoring.prediction_table import Predictions
from emofuse.train.fitting.scoring.recorded_scores import COLUMNS, indices_of
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.runs.finished_run import CONFIG, METRICS, PREDICTIONS, REMEDY, Run
from emofuse.train.runs.reporting.tested_utterances import Tested, tested_utterances

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPredictions:
    """The test predictions of a run; n utterances, S seeds."""

    run: Run
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    """[n], sorted, so that equal test sides have equal orders."""
    labels: Labels
    """[n]; zeros without one class an utterance."""
    predictions: Labels
    """[S, n]; zeros without one class an utterance."""
    found: tuple[Predictions, ...] = ()
    """Of each seed, of a target that is more than one class."""
    folds: NDArray[np.int64]
    """[n], the number of the fold that tests each utterance."""
    missing: int = 0
    """Utterances without a prediction, which count as wrong: `NO_PREDICTION`."""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The fields of the run's protocol, from config.json."""
        return dict(self.run.config["run"]["protocol"])

    @property
    def target(self) -> Target:
        """What the run predicts."""
        return target_of(self.run.metrics)

    def by_seed(self) -> list[SeedPredictions]:
        """What is compared, of each seed."""
        if not self.found:
            return of_classes(self.labels, self.predictions, len(self.classes))
        target = self.target
        return [
            SeedPredictions(
                labels=self.labels,
                predicted=predicted,
                classes=len(self.classes) if target.has_class else 0,
                target=target,
                terms=statistics(target, of_seed.truth, of_seed.values, of_seed.sets),
            )
            for predicted, of_seed in zip(self.predictions, self.found, strict=True)
        ]

    def utterance_rows(self) -> dict[str, Row]:
        """Id -> row of utterances.csv; empty for a run of a version that did not write it."""
        return {row["id"]: row for row in self.run.utterances}

    def tested(self) -> dict[str, Tested]:
        """Id -> what the seeds predict together, of the utterances that have a prediction; empty without classes."""
        if not self.classes:
            return {}
        rows = run_folder.read_csv(self.run.folder / PREDICTIONS, COLUMNS)
        return {t.id: t for t in tested_utterances(rows, self.classes, self.run.utterances)}

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
    identity = run.config["run"]
    if not isinstance(identity.get("protocol"), Mapping):
        raise damage_error(f"{run.folder / CONFIG} is damaged", ["it does not record the run's protocol"], REMEDY)
    classes, target = tuple(run.metrics["classes"]), target_of(run.metrics)
    by_seed: dict[int, list[Row]] = {}
    for row in sorted(run_folder.read_csv(run.folder / PREDICTIONS, ("id", "fold")), key=itemgetter("id")):
        by_seed.setdefault(int(row.get("seed", run.metrics.get("seed", 0))), []).append(row)
    seeds = sorted(by_seed)
    first = by_seed[seeds[0]]
    found = () if target.kind == "classes" else tuple(table.read_predictions(target, by_seed[seed]) for seed in seeds)
    labels, predicted = _class_numbers(first, classes, [by_seed[seed] for seed in seeds], found)
    return RunPredictions(
        run=run,
        classes=classes,
        seeds=tuple(seeds),
        ids=tuple(row["id"] for row in first),
        labels=labels,
        predictions=predicted,
        found=found,
        folds=np.array([int(row["fold"]) for row in first], np.int64),
    )


def _class_numbers(
    first: Sequence[Row], classes: Sequence[str], rows: Sequence[Sequence[Row]], found: Sequence[Predictions]
) -> tuple[Labels, Labels]:
    """Labels [n] and predictions [S, n]."""
    if found:
        return found[0].labels, np.array([of_seed.predicted for of_seed in found])
    return indices_of(first, classes)[0], np.array([indices_of(of_seed, classes)[1] for of_seed in rows])

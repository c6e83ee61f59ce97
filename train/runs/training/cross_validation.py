"""Cross-validation: all folds, each scored once, put together as predictions and metrics; and the same over seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.common.disk.csv_table import CsvRow
from emofuse.train.fitting.fold import FitContext, TrainingUnit, fold_data, side_indices
from emofuse.train.fitting.fold_check import check_fold
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.fitting.scoring import score_test
from emofuse.train.resolve.fit_plan import with_seed
from emofuse.train.runs import run_digests
from emofuse.train.runs.finished_run import METRICS, PREDICTIONS, Run
from emofuse.train.runs.reporting import run_metrics
from emofuse.train.runs.run_files import write_run_files

DONE, RESUMES = "are already done", "resumes from step"
"""Parts of the messages that `reproduce` repeats."""


class CrossValidation:
    """A cross-validation in progress: the units that are still to be trained, and what all of them give together.

    Each of several seeds is a separate run, in `seed_N`.

    Args:
        folder: The run's `.part` folder.

    Raises:
        DataError: A fold or a seed that an earlier call finished was altered since.
    """

    def __init__(self, context: FitContext, folder: Path) -> None:
        self.context, self.folder, self._started = context, folder, time.monotonic()
        plan = context.plan
        seeds = range(plan.config.seed, plan.config.seed + plan.config.seeds)
        self._one_seed = len(seeds) == 1
        self._plans = {seed: plan if self._one_seed else with_seed(plan, seed) for seed in seeds}
        self._finished_folders = {seed: folder / f"seed_{seed}" for seed in seeds}
        finished = [seed for seed in seeds if not self._one_seed and self._finished_folders[seed].exists()]
        for seed in finished:
            Run.open(self._finished_folders[seed])  # an earlier call finished it: check it
        self._open_folders = {seed: self._claim(seed) for seed in seeds if seed not in finished}
        steps = {f.number: plan.training_steps(f.train) for f in plan.folds}
        self.steps = sum(steps.values()) * len(self._open_folders)
        """Training steps of all folds of the seeds that are not finished."""
        self.steps_done = 0
        """Those that earlier calls did."""
        self.units: list[TrainingUnit] = []
        """What is still to be trained."""
        for seed in self._open_folders:
            self._add_units(seed, steps)

    def _claim(self, seed: int) -> Path:
        """The `.part` folder of a seed."""
        if self._one_seed:
            return self.folder
        plan = self._plans[seed]
        record = plan.record(plan.identity() | {"seeds": 1})
        return run_folder.claim_run(self._finished_folders[seed], record, plan.call())

    def _add_units(self, seed: int, steps: dict[int, int]) -> None:
        """Add the unfinished folds of a seed, and report what is already done."""
        folder = self._open_folders[seed]
        calls = len(run_folder.recorded(folder, "calls", list))
        units = [TrainingUnit(seed=seed, fold=n, folder=folder / f"fold_{n}", call=calls) for n in steps]
        unfinished = [unit for unit in units if not unit.done]
        for unit in units:
            if unit.done:
                self._check(unit)
        prefix = "" if self._one_seed else f"seed {seed}: "
        if len(unfinished) < len(units):
            rest = "; continuing with the others" if unfinished else ""
            self.context.say(f"{prefix}{len(units) - len(unfinished)} of {len(units)} folds {DONE}{rest}")
        for unit in unfinished:
            step = FoldCheckpoint(unit.folder, self.context.plan.device).step
            if step:
                self.context.say(f"{prefix}fold {unit.fold} {RESUMES} {step}")
            self.steps_done += step
        self.steps_done += sum(steps[unit.fold] for unit in units if unit.done)
        self.units += unfinished

    def _check(self, unit: TrainingUnit) -> None:
        """Check a fold that an earlier call scored, before other folds are trained beside it."""
        plan = self.context.plan
        fold = next(f for f in plan.folds if f.number == unit.fold)
        check_fold(unit.folder, plan.protocol.target, [u.id for u in fold.test])

    def label(self, unit: TrainingUnit) -> str:
        """The name of a unit in the progress line."""
        return f"fold {unit.fold}" if self._one_seed else f"seed {unit.seed}, fold {unit.fold}"

    def finish(self) -> None:
        """Write metrics, predictions, history, report and digests of all units, which are done now."""
        if self._one_seed:
            _write_seed(self.context, self.folder, self._started)
            return
        for seed, folder in self._open_folders.items():
            _write_seed(replace(self.context, plan=self._plans[seed], say=_silent), folder, self._started)
            run_folder.finish_run(folder, self._finished_folders[seed])
        runs, predictions, history = {}, {}, []
        for seed, folder in self._finished_folders.items():
            runs[seed] = run_folder.read_json(folder / METRICS)
            predictions[seed] = run_folder.read_csv(folder / PREDICTIONS)
            history += [{"seed": str(seed)} | row for row in run_folder.read_csv(folder / score_test.HISTORY)]
        metrics = run_metrics.over_seeds(runs) | run_metrics.pooled_over_seeds(self.context.plan, predictions)
        metrics["peak_memory"] = max(run.get("peak_memory", 0) for run in runs.values())
        rows = [{"seed": str(seed)} | row for seed, rows in predictions.items() for row in rows]
        _write(self.context, self.folder, metrics, rows, history)


def _silent(line: str) -> None:
    """What could not be written for a seed is said once, for the whole run."""


def _write_seed(context: FitContext, folder: Path, started: float) -> None:
    """Write what the folds of one seed give together."""
    plan = context.plan
    fold_folders = [folder / f"fold_{f.number}" for f in plan.folds]
    results = [run_folder.read_json(fold_folder / score_test.RESULT) for fold_folder in fold_folders]
    if plan.config.optimism:
        for fold, fold_folder, result in zip(plan.folds, fold_folders, results, strict=True):
            data, test = fold_data(context, fold, plan.config.seed), side_indices(plan, fold)["test"]
            target, metric, keep = plan.protocol.target, plan.protocol.metrics[0], plan.config.keep_checkpoints
            result["optimistic"] = score_test.score_all_checkpoints(fold_folder, target, data, test, metric, keep)
    predictions = [row for fold_folder in fold_folders for row in run_folder.read_csv(fold_folder / PREDICTIONS)]
    history = [row for fold_folder in fold_folders for row in run_folder.read_csv(fold_folder / score_test.HISTORY)]
    metrics = run_metrics.over_folds(plan, results, predictions)
    metrics["wall_seconds"] = round(sum(r["seconds"] for r in results), 1)
    metrics["this_call_seconds"] = round(time.monotonic() - started, 1)
    metrics["peak_memory"] = max(r.get("peak_memory", 0) for r in results)
    _write(context, folder, metrics, predictions, history)


def _write(
    context: FitContext,
    folder: Path,
    metrics: dict[str, Any],
    predictions: Sequence[CsvRow],
    history: Sequence[Any],
) -> None:
    plan = context.plan
    metrics["parameters"] = context.parameters
    metrics["audio_seconds"] = round(sum(u.seconds or 0 for u in plan.utterances), 1)
    metrics["remarks"] = list(plan.remarks)
    metrics["weights"] = run_digests.weights_digests(folder)
    write_run_files(folder, plan, metrics, predictions, context.say, history=history)

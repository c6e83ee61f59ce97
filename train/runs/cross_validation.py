"""Cross-validation: every fold, each scored once, gathered to predictions and metrics; and the same over seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.train.fitting import evaluate
from emofuse.train.fitting.fold import FitContext, TrainingUnit, sides
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.resolve.plan import with_seed
from emofuse.train.runs import summary
from emofuse.train.runs.report import write_report


class CrossValidation:
    """A cross-validation under way in `part`: what is still to be trained, and what all gives together.

    Several seeds have a run of their own each, in `seed_N`.
    """

    def __init__(self, work: FitContext, part: Path) -> None:
        self.work, self.part, self._started = work, part, time.monotonic()
        plan = work.plan
        seeds = range(plan.config.seed, plan.config.seed + plan.config.seeds)
        self._alone = len(seeds) == 1
        self._plans = {seed: plan if self._alone else with_seed(plan, seed) for seed in seeds}
        self._outs = {seed: part / f"seed_{seed}" for seed in seeds}
        self._parts = {seed: self._part(seed) for seed in seeds if self._alone or not self._outs[seed].exists()}
        steps = {f.number: plan.settings.total_steps(len(f.train)) for f in plan.folds}
        self.steps = sum(steps.values()) * len(self._parts)
        """Of all its folds and seeds."""
        self.done = 0
        """Steps that earlier calls did."""
        self.units: list[TrainingUnit] = []
        """What is to be trained."""
        for seed in self._parts:
            self._lacking(seed, steps)

    def _part(self, seed: int) -> Path:
        if self._alone:
            return self.part
        plan = self._plans[seed]
        return run_folder.claim(self._outs[seed], plan.record(plan.identity() | {"seeds": 1}), plan.call())

    def _lacking(self, seed: int, steps: dict[int, int]) -> None:
        """Add what a seed still lacks."""
        part = self._parts[seed]
        calls = len(run_folder.read_json(part / "config.json")["calls"])
        every = [TrainingUnit(seed=seed, fold=n, folder=part / f"fold_{n}", call=calls) for n in steps]
        todo = [unit for unit in every if not unit.done]
        of = "" if self._alone else f"seed {seed}: "
        if len(todo) < len(every):
            ready = len(every) - len(todo)
            others = "; going on with the others" if todo else ""
            self.work.say(f"{of}{ready} of {len(every)} folds are done already{others}")
        for unit in todo:
            at = FoldCheckpoint(unit.folder, self.work.plan.device).step
            if at:
                self.work.say(f"{of}fold {unit.fold} goes on from step {at}")
            self.done += at
        self.done += sum(steps[unit.fold] for unit in every if unit.done)
        self.units += todo

    def called(self, unit: TrainingUnit) -> str:
        """What a unit is called in the progress line."""
        return f"fold {unit.fold}" if self._alone else f"seed {unit.seed}, fold {unit.fold}"

    def finish(self) -> dict[str, Any]:
        """Write what all units, which are done now, give together; the metrics."""
        if self._alone:
            return _summarise(self.work, self.part, self._started)
        for seed, part in self._parts.items():
            _summarise(replace(self.work, plan=self._plans[seed]), part, self._started)
            run_folder.finish(part, self._outs[seed])
        runs, predictions, history = {}, {}, []
        for seed, out in self._outs.items():
            runs[seed] = run_folder.read_json(out / "metrics.json")
            predictions[seed] = run_folder.read_csv(out / "predictions.csv")
            history += [{"seed": str(seed)} | row for row in run_folder.read_csv(out / "history.csv")]
        metrics = summary.over_seeds(runs) | summary.pooled_over_seeds(self.work.plan, predictions)
        rows = [{"seed": str(seed)} | row for seed, rows in predictions.items() for row in rows]
        _write(self.work, self.part, metrics, rows, history)
        return metrics


def _summarise(work: FitContext, part: Path, started: float) -> dict[str, Any]:
    """Write what the folds of one seed give together."""
    plan = work.plan
    results = [run_folder.read_json(part / f"fold_{f.number}" / evaluate.RESULT) for f in plan.folds]
    if plan.config.optimism:
        for fold, result in zip(plan.folds, results, strict=True):
            test, metric = sides(plan, fold)["test"], plan.protocol.metrics[0]
            target, corpus = part / f"fold_{fold.number}", work.loader.corpus(fold)
            result["optimistic"] = evaluate.optimistic(target, corpus, test, metric)
    predictions = [
        row for f in plan.folds for row in run_folder.read_csv(part / f"fold_{f.number}" / "predictions.csv")
    ]
    history = [row for f in plan.folds for row in run_folder.read_csv(part / f"fold_{f.number}" / "history.csv")]
    metrics = summary.summarise(plan, results, predictions)
    metrics["wall_seconds"] = round(sum(r["seconds"] for r in results), 1)
    metrics["this_call_seconds"] = round(time.monotonic() - started, 1)
    _write(work, part, metrics, predictions, history)
    return metrics


def _write(
    work: FitContext,
    part: Path,
    metrics: dict[str, Any],
    predictions: Sequence[run_folder.CsvRow],
    history: Sequence[Any],
) -> None:
    run_folder.write_csv(part / "predictions.csv", predictions)
    run_folder.write_csv(part / "history.csv", history)
    run_folder.write_json(part / "metrics.json", metrics)
    lacking = write_report(part, work.header, metrics, run_folder.read_json(part / "config.json"), history)
    if lacking:
        work.say(lacking)

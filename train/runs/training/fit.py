"""Fits one model or several: resolve, load, cross-validate, and leave a run folder for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from emofuse.common.disk import run_folder
from emofuse.common.output.console import Say, printable
from emofuse.common.output.progress import Progress
from emofuse.common.output.verbosity import Verbosity, verbosity
from emofuse.common.system.dask_cluster import check_scheduler
from emofuse.common.system.machine import check_threads
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import TrainingUnit
from emofuse.train.fitting.loop import DivergedError
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.finished_run import METRICS, Diverged, FitOutcome, Run, finished_run
from emofuse.train.runs.fit_context import fit_context, resolved
from emofuse.train.runs.processes import execute
from emofuse.train.runs.processes.process_count import Workload, count_processes, workload
from emofuse.train.runs.reporting import console_report
from emofuse.train.runs.reporting.leak_report import near_duplicate_lines, near_duplicates
from emofuse.train.runs.training.cross_validation import CrossValidation
from emofuse.train.runs.training.ensemble import add_ensemble
from emofuse.train.runs.training.final_model import add_final_model
from emofuse.train.runs.training.near_duplicate_search import forget_near_duplicates, with_near_duplicates

ALREADY_DONE, RUN_FOLDER = "already done", "run"
"""Starts of the lines that `reproduce` repeats."""

OnOutcome = Callable[[int, FitOutcome], None]
"""Called with the number of a fit and what it gave."""


def fit_model(config: FitConfig, say: Say) -> Run:
    """Fit a model from its stores and cross-validate it; a run that is finished already is only printed again.

    Args:
        say: Prints a line of the report.

    Raises:
        UsageError: Something about the options, the stores' contents or an existing folder.
        DivergedError: A training loss became NaN or infinite.
        DataError: A store is damaged.
    """
    runs: list[Run] = []

    def on_outcome(number: int, outcome: FitOutcome) -> None:
        if isinstance(outcome, Diverged):
            raise DivergedError(f"{outcome.reason}: lower the learning rate, --set lr={plan.settings.lr / 10:g}")
        runs.append(outcome)

    with resolved(config) as plan:
        _fit_plans([plan], [say], on_outcome)
        run = add_final_model(plan, runs[0], say) if config.final else runs[0]
        return add_ensemble(plan, run, say) if config.ensemble else run


def fit_models(configs: Sequence[FitConfig], says: Sequence[Say], on_outcome: OnOutcome) -> None:
    """Fit several models; several processes train the folds of all of them, whichever comes next.

    A model that diverges does not stop the others.

    Args:
        configs: With the same device, jobs, scheduler and threads.
        says: For each, what prints a line of its report.
        on_outcome: Called as soon as a fit has ended.

    Raises:
        UsageError: Something about the options, the stores' contents or an existing folder.
        DataError: A store is damaged.
    """
    if not _share_processes(configs):
        for number, (config, say) in enumerate(zip(configs, says, strict=True)):
            with resolved(config) as plan:
                _fit_plans([plan], [say], lambda _, outcome, number=number: on_outcome(number, outcome))  # type: ignore[misc]
        return
    with ExitStack() as stack:
        _fit_plans([stack.enter_context(resolved(config)) for config in configs], says, on_outcome)


def _share_processes(configs: Sequence[FitConfig]) -> bool:
    """Whether several processes or workers train; in one process the models are fitted one after the other."""
    if configs[0].scheduler is not None or configs[0].jobs == 1:
        return configs[0].scheduler is not None
    workloads = []
    for config in configs:
        with resolved(config) as plan:
            workloads.append(workload(plan))
    return count_processes(plan, workloads) > 1


def _fit_plans(plans: Sequence[FitPlan], says: Sequence[Say], on_outcome: OnOutcome) -> None:
    """Fit the plans that are not finished yet, the units of all of them together."""
    config = plans[0].config
    if config.threads is not None and config.scheduler is None:
        torch.set_num_threads(check_threads(config.threads))
    workloads = [workload(plan) for plan in plans]
    with ExitStack() as stack:
        batch = _RunBatch(plans, says, on_outcome)
        batch.open(stack)
        batch.train(workloads)


class _OpenRun:
    """A run in progress: its folder is claimed, its features are ready to load."""

    def __init__(self, plan: FitPlan, folder: Path, identity: dict[str, Any], say: Say) -> None:
        part = run_folder.claim_run(folder, plan.record(identity), plan.call())
        plan = with_near_duplicates(plan, part)
        self.plan, self.folder, self.ended = plan, folder, False
        context = fit_context(plan, Loader(plan, say=say), say)
        audio = [f"{console_report.NOTE:9} {line}" for line in near_duplicate_lines(near_duplicates(plan))]
        quiet = verbosity() is Verbosity.QUIET
        for line in [*(console_report.warnings(context.header) if quiet else context.header), *audio]:
            say(line)
        self.cross_validation = CrossValidation(context, part)
        self.units_left = len(self.cross_validation.units)

    def finish(self) -> None:
        """Write what all units give, and rename the folder."""
        self.cross_validation.finish()
        forget_near_duplicates(self.cross_validation.folder)
        run_folder.finish_run(self.cross_validation.folder, self.folder)
        self.ended = True


class _RunBatch:
    """Several fits at once. Fits with equal settings are one run: rows of a table may be."""

    def __init__(self, plans: Sequence[FitPlan], says: Sequence[Say], on_outcome: OnOutcome) -> None:
        self._plans, self._says, self._on_outcome = plans, says, on_outcome
        self._runs: dict[Path, _OpenRun] = {}
        self._numbers: dict[Path, list[int]] = {}
        """Run folder -> the numbers of its fits."""
        self._run_of: dict[Path, _OpenRun] = {}
        """Folder of a unit -> its run."""
        self._several = False

    def open(self, stack: ExitStack) -> None:
        """Print the runs that are finished already, and claim the folders of the others, which `stack` locks."""
        for number, (plan, say) in enumerate(zip(self._plans, self._says, strict=True)):
            identity = plan.identity() | {"seeds": plan.config.seeds}
            name = f"{plan.protocol.name}-{identity['model']}"
            folder = plan.config.out or run_folder.run_path(plan.config.runs, name, identity)
            run = finished_run(folder, identity)
            if run is not None:
                say(f"{ALREADY_DONE}: {printable(str(folder), 400)} holds this run")
                self._report(number, folder, run.metrics)
                continue
            if plan.config.scheduler is not None and not self._runs:
                check_scheduler(plan.config.scheduler)
            if folder not in self._runs:
                stack.enter_context(run_folder.run_lock(folder))
                self._runs[folder] = _OpenRun(plan, folder, identity, say)
            self._numbers.setdefault(folder, []).append(number)

    def train(self, workloads: Sequence[Workload]) -> None:
        """Train what the runs are missing; each run is finished when its last unit is done."""
        for run in self._runs.values():
            if not run.units_left:  # an earlier call was stopped between its last fold and its end
                self._finish(run)
        runs = [run for run in self._runs.values() if not run.ended]
        if not runs:
            return
        self._several = len(runs) > 1
        validations = [run.cross_validation for run in runs]
        self._run_of = {unit.folder: run for run in runs for unit in run.cross_validation.units}
        tasks = [(validation.context, unit) for validation in validations for unit in validation.units]
        title = f"fit {runs[0].plan.title}" if not self._several else f"fit {len(runs)} models"
        steps, done = sum(v.steps for v in validations), sum(v.steps_done for v in validations)
        with Progress(steps, title, "steps", done) as progress:

            def on_progress(unit: TrainingUnit, steps: int, note: str) -> None:
                progress.advance(steps, self._progress_note(unit, note))

            def on_end(unit: TrainingUnit, diverged: str | None) -> bool:
                with progress.other_output():
                    self._unit_ended(unit, diverged)
                return diverged is None

            execute.train_units(tasks, workloads, on_progress, on_end)
        for run in runs:
            if not run.ended:
                self._finish(run)

    def _progress_note(self, unit: TrainingUnit, note: str) -> str:
        run = self._run_of[unit.folder]
        model = run.plan.title if self._several else ""
        return ", ".join(filter(None, [model, run.cross_validation.label(unit), note]))

    def _unit_ended(self, unit: TrainingUnit, diverged: str | None) -> None:
        run = self._run_of[unit.folder]
        run.units_left -= 1
        if run.ended:
            return
        if diverged is not None:
            self._give_up(run, diverged)
        elif not run.units_left and self._several:  # a single run is finished below its progress line
            self._finish(run)

    def _finish(self, run: _OpenRun) -> None:
        run.finish()
        metrics = run_folder.read_json(run.folder / METRICS)
        for number in self._numbers[run.folder]:
            self._report(number, run.folder, metrics)

    def _give_up(self, run: _OpenRun, reason: str) -> None:
        run.ended = True
        for number in self._numbers[run.folder]:
            self._on_outcome(number, Diverged(reason=reason))

    def _report(self, number: int, folder: Path, metrics: dict[str, Any]) -> None:
        shown = metrics | {"metrics": list(self._plans[number].shown_metrics)}
        for line in console_report.closing(shown):
            self._says[number](line)
        self._says[number](f"{RUN_FOLDER}: {printable(str(folder), 400)}")
        excluded = tuple(self._plans[number].task.excluded)
        self._on_outcome(number, Run(folder=folder, metrics=metrics, excluded=excluded))

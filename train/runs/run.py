"""Calls of `fit`: resolve, load, cross-validate, and leave a run folder for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emofuse.common.console import Say
from emofuse.common.disk import run_folder
from emofuse.common.progress import Progress
from emofuse.common.system.cluster import answers
from emofuse.common.system.machine import within_cores
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.checkpoint import ModelRecipe
from emofuse.train.fitting.fold import FitContext, TrainingUnit
from emofuse.train.fitting.loop import DivergedError
from emofuse.train.fitting.step import set_products
from emofuse.train.models.base import Inputs
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.joined_store import open_stores
from emofuse.train.resolve.plan import FitPlan, resolve
from emofuse.train.runs import jobs, summary
from emofuse.train.runs.cross_validation import CrossValidation


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished fit: where it lies, its metrics.json, and what was left out."""

    out: Path
    metrics: dict[str, Any]
    excluded: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """A fit without a result: the loss of one of its trainings is no number any more."""

    why: str


FitOutcome = Finished | Diverged


@contextmanager
def resolved(config: FitConfig) -> Iterator[FitPlan]:
    """The plan of a call, its stores open.

    Raises:
        UsageError: Everything about the options and the stores that stands in the way.
        DataError: A store is damaged.
    """
    with open_stores(config) as store:
        yield resolve(store, config)


def fit(config: FitConfig, say: Say = print) -> Finished:
    """Fit a model from its stores and cross-validate it; what is finished already is only told again.

    Raises:
        UsageError: Something about the options, the store's contents or an existing folder.
        DivergedError: The loss of a training is no number any more.
        DataError: The store is damaged.
    """
    found: list[Finished] = []

    def told(number: int, outcome: FitOutcome) -> None:
        if isinstance(outcome, Diverged):
            raise DivergedError(f"{outcome.why}: lower the learning rate, --set lr={plan.settings.lr / 10:g}")
        found.append(outcome)

    with resolved(config) as plan:
        _fit([plan], [say], told)
    return found[0]


def fit_all(configs: Sequence[FitConfig], says: Sequence[Say], told: Callable[[int, FitOutcome], None]) -> None:
    """Fit several models; where several processes train, each takes whatever fold of whatever model comes next.

    One that diverges stops no other.

    Args:
        configs: Alike in device, jobs, scheduler and threads.
        says: What each is told by.
        told: Called with each one's number and what came of it, as soon as that is known.

    Raises:
        UsageError, DataError: As `fit` does, but for `DivergedError`.
    """
    if not _together(configs):
        for number, (config, say) in enumerate(zip(configs, says, strict=True)):
            with resolved(config) as plan:
                _fit([plan], [say], lambda _, outcome, number=number: told(number, outcome))  # type: ignore[misc]
        return
    with ExitStack() as stack:
        _fit([stack.enter_context(resolved(config)) for config in configs], says, told)


def _together(configs: Sequence[FitConfig]) -> bool:
    if configs[0].scheduler is not None or configs[0].jobs == 1:
        return configs[0].scheduler is not None
    demands = []
    for config in configs:
        with resolved(config) as plan:
            demands.append(jobs.demand(plan))
    return jobs.jobs_of(plan, demands) > 1


class _Run:
    """A fit under way, and what becomes of it."""

    def __init__(self, plan: FitPlan, out: Path, identity: dict[str, Any], say: Say) -> None:
        self.plan, self.out, self.over = plan, out, False
        part = run_folder.claim(out, plan.record(identity), plan.call())
        work = prepared(plan, Loader(plan, say=say), say)
        for line in work.header:
            say(line)
        self.validation = CrossValidation(work, part)
        self.left = len(self.validation.units)
        """Units that are still to be trained."""

    def end(self) -> dict[str, Any]:
        """Write what all units give, and give the run its name; its metrics."""
        metrics = self.validation.finish()
        run_folder.finish(self.validation.part, self.out)
        self.over = True
        return metrics


def _fit(plans: Sequence[FitPlan], says: Sequence[Say], told: Callable[[int, FitOutcome], None]) -> None:
    """Fit what `plans` ask for and is not done, the units of all side by side."""
    config = plans[0].config
    if config.threads is not None and config.scheduler is None:
        torch.set_num_threads(within_cores(config.threads))
    demands = [jobs.demand(plan) for plan in plans]

    def close(number: int, out: Path, metrics: dict[str, Any]) -> None:
        for line in summary.closing(plans[number], metrics):
            says[number](line)
        says[number](f"run: {out}")
        told(number, Finished(out=out, metrics=metrics, excluded=tuple(plans[number].task.excluded)))

    with ExitStack() as stack:
        runs: dict[Path, _Run] = {}
        numbers: dict[Path, list[int]] = {}
        for number, (plan, say) in enumerate(zip(plans, says, strict=True)):
            identity = plan.identity() | {"seeds": plan.config.seeds}
            out = plan.config.out or run_folder.named(
                plan.config.runs, f"{plan.protocol.name}-{identity['model']}", identity
            )
            metrics = run_folder.finished(out, identity)
            if metrics is not None:
                say(f"already done: {out} holds this very run")
                close(number, out, metrics)
                continue
            if config.scheduler is not None and not runs:
                answers(config.scheduler)
            if out not in runs:  # rows of a table may be one run
                stack.enter_context(run_folder.held(out))
                runs[out] = _Run(plan, out, identity, say)
            numbers.setdefault(out, []).append(number)

        def end(run: _Run) -> None:
            metrics = run.end()
            for number in numbers[run.out]:
                close(number, run.out, metrics)

        def give_up(run: _Run, why: str) -> None:
            run.over = True
            for number in numbers[run.out]:
                told(number, Diverged(why=why))

        _train([*runs.values()], demands, end, give_up)


def _train(
    runs: Sequence[_Run],
    demands: Sequence[jobs.Demand],
    end: Callable[[_Run], None],
    give_up: Callable[[_Run, str], None],
) -> None:
    """Train what the runs still lack; `end` each when nothing of it is left, `give_up` each that diverges."""
    for run in runs:
        if not run.left:  # it was stopped between its last fold and its end
            end(run)
    runs = [run for run in runs if not run.over]
    if not runs:
        return
    of = {unit.folder: run for run in runs for unit in run.validation.units}
    tasks = [(run.validation.work, unit) for run in runs for unit in run.validation.units]
    title = f"fit {runs[0].plan.title}" if len(runs) == 1 else f"fit {len(runs)} models"
    steps, done = (sum(getattr(run.validation, name) for run in runs) for name in ("steps", "done"))
    with Progress(steps, title, "steps", done) as progress:

        def advance(unit: TrainingUnit, amount: int, note: str) -> None:
            run = of[unit.folder]
            which = [] if len(runs) == 1 else [run.plan.title]
            progress.advance(amount, ", ".join(filter(None, [*which, run.validation.called(unit), note])))

        def ended(unit: TrainingUnit, diverged: str | None) -> bool:
            run = of[unit.folder]
            run.left -= 1
            with progress.aside():
                if diverged is not None and not run.over:
                    give_up(run, diverged)
                elif not run.left and not run.over and len(runs) > 1:
                    end(run)
            return diverged is None

        jobs.run(tasks, demands, advance, ended)
    for run in runs:
        if not run.over:
            end(run)


def prepared(plan: FitPlan, loader: Loader, say: Say = lambda line: None) -> FitContext:
    """What training needs of a plan; torch is set up for its device."""
    recipe = recipe_of(plan)
    with torch.device("meta"):
        count = sum(p.numel() for p in recipe.build().parameters())
    if plan.device.type == "cuda":
        set_products(plan.config.precision)
        # cuBLAS reads this when it starts; without it equal seeds may give unequal sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return FitContext(plan=plan, recipe=recipe, loader=loader, header=summary.header(plan, count), say=say)


def recipe_of(plan: FitPlan) -> ModelRecipe:
    """How the plan's model is built for its features."""
    width = {m: f.dimension * (2 if plan.spec.pool == "mean+deviation" else 1) for m, f in plan.features.items()}
    layers = {len(f.layers) for f in plan.features.values()}
    inputs = Inputs(
        audio=width.get("audio"), text=width.get("text"), layers=max(layers), classes=len(plan.protocol.classes)
    )
    return ModelRecipe(model=plan.model, settings=plan.settings, inputs=inputs, classes=plan.protocol.classes)

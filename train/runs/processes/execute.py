"""Trains and scores the units of one or several fits: in this process, in several, or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.train.fitting.fold import OnProgress, OnUnitEnd, TrainingUnit, UnitInContext, try_fit_fold
from emofuse.train.fitting.loop import DivergedError
from emofuse.train.runs.processes import cluster, process_pool
from emofuse.train.runs.processes.process_count import Workload, count_processes, threads_per_process, within_memory


def raise_diverged(unit: TrainingUnit, diverged: str | None) -> bool:
    """An `OnUnitEnd` for which one unit that diverges ends everything."""
    if diverged is not None:
        raise DivergedError(diverged)
    return True


def train_units(
    tasks: Sequence[UnitInContext],
    workloads: Sequence[Workload],
    on_progress: OnProgress,
    on_end: OnUnitEnd = raise_diverged,
) -> None:
    """Train and score every unit.

    Args:
        tasks: Of fits whose device, threads, jobs and scheduler are the same.
        workloads: Of all these fits, the finished ones too: a fit that resumes has the threads it started with.
        on_end: If it returns False, the other units of the same fit are not started.

    Raises:
        UsageError, DataError: Of the first unit that fails; finished units stay on disk.
    """
    if not tasks:
        return
    plan = tasks[0][0].plan
    count = count_processes(plan, workloads)
    if plan.config.scheduler:
        cluster.run(tasks, on_progress, on_end, plan.config.scheduler)
    elif count == 1:
        _run_here(tasks, on_progress, on_end)
    else:
        processes = within_memory(tasks, min(count, len(tasks)))
        process_pool.run(tasks, on_progress, on_end, processes, threads_per_process(plan, count))


def _run_here(tasks: Sequence[UnitInContext], on_progress: OnProgress, on_end: OnUnitEnd) -> None:
    stopped: set[int] = set()
    for context, unit in tasks:
        if id(context) not in stopped:
            diverged = try_fit_fold(
                context,
                unit,
                lambda step, note, unit=unit: on_progress(unit, 1, note),  # type: ignore[misc]
            )
            if not on_end(unit, diverged):
                stopped.add(id(context))

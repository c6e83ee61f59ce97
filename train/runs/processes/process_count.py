"""How many processes train the units of one or several fits, and with how many threads each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from emofuse.common.output.console import format_size
from emofuse.common.system.machine import free_memory, usable_cores
from emofuse.train.data.loader import MEMORY_SHARE
from emofuse.train.fitting.fold import UnitInContext
from emofuse.train.models.listing.cost import cost
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.reporting.console_report import NOTE

WORTH_SECONDS = 60.0
"""A fit that one process would finish sooner stays in one: further processes take seconds to start."""
_FLOPS_PER_SECOND = 2e10
"""Of one core, roughly."""
_MIN_STEP_SECONDS = 2e-3
"""What a step takes at least, roughly."""
_PASSES_PER_STEP = 3
"""The cost of a training step in forward passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """How much work a fit is, finished parts included."""

    units: int
    """Folds times seeds."""
    seconds: float
    """About what one core would take; 0 if the number of processes does not depend on it."""


def workload(plan: FitPlan) -> Workload:
    """How much work a fit is, finished folds included."""
    units = len(plan.folds) * plan.config.seeds
    if plan.config.jobs is not None or plan.device.type == "cuda":
        return Workload(units=units, seconds=0.0)
    steps = plan.training_steps(max((f.train for f in plan.folds), key=len))
    flops = cost(plan.spec, plan.settings, plan.protocol.target.outputs).flops
    step_seconds = max(_MIN_STEP_SECONDS, _PASSES_PER_STEP * plan.settings.batch * flops / _FLOPS_PER_SECOND)
    return Workload(units=units, seconds=units * steps * step_seconds)


def count_processes(plan: FitPlan, workloads: Sequence[Workload]) -> int:
    """How many processes train all workloads: `jobs` if it is set, else one per GPU, or per core if that is faster."""
    jobs, units = plan.config.jobs, sum(w.units for w in workloads)
    if jobs is not None:
        return max(1, min(jobs, units))
    if plan.device.type == "cuda":
        gpus = torch.cuda.device_count() if plan.config.device in ("auto", "cuda") else 1
        return max(1, min(gpus, units))
    return max(1, min(usable_cores(), units)) if units > 1 and sum(w.seconds for w in workloads) > WORTH_SECONDS else 1


def within_memory(tasks: Sequence[UnitInContext], count: int) -> int:
    """How many of `count` processes have memory for their own copy of features; all of them if the user set `jobs`.

    Each keeps the threads that it has among `count` processes: free memory must not change the results.
    """
    first = tasks[0][0]
    if first.plan.config.jobs is not None or first.plan.device.type != "cpu":
        return count
    own, free = max(loader.unshared_bytes() for loader in {context.loader for context, _ in tasks}), free_memory()
    if own * count <= MEMORY_SHARE * free:
        return count
    fewer = max(1, int(MEMORY_SHARE * free / own))
    first.say(
        f"{NOTE} {fewer} of {count} processes: each loads {format_size(own)} of features into memory, "
        f"of which {format_size(int(free))} are free"
    )
    return fewer


def threads_per_process(plan: FitPlan, processes: int) -> int:
    """How many threads each of several processes has: `threads` if it is set, else an equal share of the cores."""
    return plan.config.threads or max(1, usable_cores() // processes)

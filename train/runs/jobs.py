"""Folds, seeds and variants on several processes: each trains one at a time, and all read one copy of the features.

What a fold comes to depends on its seed, the machine and the threads of its process alone, never on how many processes
there are nor on which of them trains it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import torch

from emofuse.common.console import size
from emofuse.common.errors import DataError
from emofuse.common.system.machine import cores, free_bytes
from emofuse.train.data.loader import SHARE
from emofuse.train.fitting.fold import Advance, Ended, FoldTask, TrainingUnit, attempt, verify
from emofuse.train.fitting.loop import DivergedError
from emofuse.train.models.cost import cost
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.plan import FitPlan
from emofuse.train.runs import cluster
from emofuse.train.runs.worker import work_of

WORTH_SECONDS = 60.0
"""A fit that one process would do sooner stays in one: others take seconds to start."""
_RATE, _STEP_SECONDS, _BACKWARD = 2e10, 2e-3, 3
"""What a core does in a second, what a step takes at least, and what a step costs of a forward pass; roughly."""
TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a fit asks for."""

    units: int
    """Folds, under each seed."""
    seconds: float
    """About what one core would take; 0 where it does not matter."""


def demand(plan: FitPlan) -> Demand:
    """What all of a fit asks for, whatever of it is done already."""
    units = len(plan.folds) * plan.config.seeds
    if plan.config.jobs is not None or plan.device.type == "cuda":
        return Demand(units=units, seconds=0.0)
    steps = plan.settings.total_steps(max(len(f.train) for f in plan.folds))
    flops = cost(plan.spec, plan.settings, len(plan.protocol.classes)).flops
    seconds = units * steps * max(_STEP_SECONDS, _BACKWARD * plan.settings.batch * flops / _RATE)
    return Demand(units=units, seconds=seconds)


def _all_or_none(unit: TrainingUnit, diverged: str | None) -> bool:
    """One training that diverged ends all."""
    if diverged is not None:
        raise DivergedError(diverged)
    return True


def run(tasks: Sequence[FoldTask], demands: Sequence[Demand], advance: Advance, ended: Ended = _all_or_none) -> None:
    """Train and score every unit.

    Args:
        tasks: Of fits that are called for alike, but for what they fit.
        demands: Of all these fits, the finished ones too: a fold that goes on has the threads that it began with.
        ended: Told of each unit when it is done or has diverged. The units of a fit that is not wanted any more are
            not begun.

    Raises:
        UsageError, DataError: As the first unit that fails does; what the others have written stays. As a cluster
            does, where the user named one.
    """
    if not tasks:
        return
    plan = tasks[0][0].plan
    count = jobs_of(plan, demands)
    if plan.config.scheduler:
        cluster.run(tasks, advance, ended, plan.config.scheduler)
    elif count == 1:
        unwanted: set[int] = set()
        for work, unit in tasks:
            if id(work) not in unwanted:
                diverged = attempt(work, unit, lambda step, note, unit=unit: advance(unit, 1, note))  # type: ignore[misc]
                if not ended(unit, diverged):
                    unwanted.add(id(work))
    else:
        _run(tasks, advance, ended, _within_memory(tasks, min(count, len(tasks))), threads_of(plan, count))


def jobs_of(plan: FitPlan, demands: Sequence[Demand]) -> int:
    """How many processes train all that is demanded: as many as asked for, or as pay."""
    asked, units = plan.config.jobs, sum(d.units for d in demands)
    if asked is not None:
        return max(1, min(asked, units))
    if plan.device.type == "cuda":
        most = torch.cuda.device_count() if plan.config.device in ("auto", "cuda") else 1
        return max(1, min(most, units))
    return max(1, min(cores(), units)) if units > 1 and sum(d.seconds for d in demands) > WORTH_SECONDS else 1


def _within_memory(tasks: Sequence[FoldTask], count: int) -> int:
    """How many of `count` processes have memory for what each reads for itself; all, where the user said how many.

    Their threads are those of all `count`: free memory shall change no number.
    """
    first = tasks[0][0]
    if first.plan.config.jobs is not None or first.plan.device.type != "cpu":
        return count
    own, free = max(loader.own_bytes() for loader in {work.loader for work, _ in tasks}), free_bytes()
    if own * count <= SHARE * free:
        return count
    fewer = max(1, int(SHARE * free / own))
    first.say(f"note {fewer} of {count} processes: each reads {size(own)} for itself, and {size(int(free))} are free")
    return fewer


def threads_of(plan: FitPlan, jobs: int) -> int:
    """How many threads each of several processes has."""
    return plan.config.threads or max(1, cores() // jobs)


def _run(tasks: Sequence[FoldTask], advance: Advance, ended: Ended, count: int, threads: int) -> None:
    first = tasks[0][0]
    plan = first.plan
    first.say(
        f"{count} fold{'s side by side, each' * (count > 1)} in a process of {threads} thread{'s' * (threads > 1)}"
    )
    verify(tasks)
    context = multiprocessing.get_context("spawn")
    ticks, stop, devices = context.Queue(), context.Event(), context.Queue()
    gpus = torch.cuda.device_count() if plan.config.device in ("auto", "cuda") else 0
    for n in range(count):
        devices.put(f"cuda:{n % gpus}" if plan.device.type == "cuda" and gpus else str(plan.device))
    of = {unit.folder: unit for _, unit in tasks}

    def listen() -> None:
        while (tick := ticks.get()) is not None:
            folder, amount, note = tick
            advance(of[folder], amount, note)

    listener = threading.Thread(target=listen, name="progress", daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(threads, devices, ticks, stop))
    started: list[Any] = []
    try:
        with _ignored():  # by the processes too that start here, from their first moment: this one stops them
            futures = {
                pool.submit(_unit, work.plan.config, work.plan.identity(), unit): (work, unit) for work, unit in tasks
            }
            started = multiprocessing.active_children()
        for done in as_completed(futures):
            work, unit = futures[done]
            if not done.cancelled() and not ended(unit, done.result()):
                for future, (other, _) in futures.items():
                    if other is work:
                        future.cancel()
    except BrokenProcessPool:
        pool.shutdown(cancel_futures=True)
        raise DataError(
            f"a process died ({_how(started)}), most often of memory: give fewer --jobs; what was written stays, and "
            "the same command goes on"
        ) from None
    except KeyboardInterrupt:
        print("\nstopping; each process ends after its step", file=sys.stderr, flush=True)
        raise
    finally:
        with _ignored():  # a second Ctrl-C makes nothing faster
            stop.set()
            pool.shutdown(cancel_futures=True)
            ticks.put(None)
            listener.join(TICK_SECONDS * 50)  # a process that was killed may have taken the queue with it


@contextlib.contextmanager
def _ignored() -> Iterator[None]:
    """No notice is taken of Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _how(processes: Sequence[Any]) -> str:
    """How the first of some processes ended that did not end well; the others were ended by the pool."""
    codes = [p.exitcode for p in processes if p.exitcode not in (None, 0, -signal.SIGTERM)]
    if not codes:
        return "ended from outside"
    return signal.Signals(-codes[0]).name if codes[0] < 0 else f"exit code {codes[0]}"


class _StoppedError(Exception):
    """The call that this process works for has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Here:
    """What a process that trains has."""

    device: str
    ticks: Any
    stop: Any


_HERE: _Here


def _begin(threads: int, devices: Any, ticks: Any, stop: Any) -> None:
    global _HERE
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also where another thread than the main one started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _HERE = _Here(device=devices.get(), ticks=ticks, stop=stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _unit(config: FitConfig, identity: dict[str, Any], unit: TrainingUnit) -> str | None:
    here, told, waiting = _HERE, time.monotonic(), 0

    def on_step(step: int, note: str) -> None:
        nonlocal told, waiting
        waiting += 1
        if time.monotonic() - told > TICK_SECONDS:
            here.ticks.put((unit.folder, waiting, note))
            told, waiting = time.monotonic(), 0
            if here.stop.is_set():
                raise _StoppedError

    diverged = attempt(work_of(replace(config, device=here.device, threads=None), identity), unit, on_step)
    here.ticks.put((unit.folder, waiting, ""))
    return diverged

"""Folds and seeds on several processes: each trains one at a time, and all read one copy of the features.

What a fold comes to depends on its seed, the machine and the threads of its process alone, never on how many processes
there are nor on which of them trains it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import torch

from emofuse.common.errors import DataError
from emofuse.common.machine import cores
from emofuse.train import cluster
from emofuse.train.config import FitConfig
from emofuse.train.fold import Advance, Unit, Work, fit_fold
from emofuse.train.models.cost import cost
from emofuse.train.plan import Plan
from emofuse.train.worker import Worker

WORTH_SECONDS = 60.0
"""A fit that one process would do sooner stays in one: others take seconds to start."""
_RATE, _STEP_SECONDS, _BACKWARD = 2e10, 2e-3, 3
"""What a core does in a second, what a step takes at least, and what a step costs of a forward pass; roughly."""
TICK_SECONDS = 0.1


def run(work: Work, units: Sequence[Unit], advance: Advance) -> None:
    """Train and score every unit.

    Raises:
        UsageError, DataError: As the first unit that fails does; what the others have written stays. As a cluster
            does, where the user named one.
    """
    plan = work.plan
    if not units:
        return
    # By what the whole fit has, not by what is left of it: a fold that goes on has the threads that it began with.
    count = jobs_of(plan, len(plan.folds) * plan.config.seeds)
    if plan.config.scheduler:
        cluster.run(work, units, advance, plan.config.scheduler)
    elif count == 1:
        for unit in units:
            fit_fold(work, unit, lambda step, note, unit=unit: advance(unit, 1, note))  # type: ignore[misc]
    else:
        _run(work, units, advance, min(count, len(units)), threads_of(plan, count))


def jobs_of(plan: Plan, units: int) -> int:
    """How many processes train a fit of `units` folds: as many as asked for, or as pay."""
    asked = plan.config.jobs
    if asked is not None:
        return max(1, min(asked, units))
    if plan.device.type == "cuda":
        most = torch.cuda.device_count() if plan.config.device in ("auto", "cuda") else 1
        return max(1, min(most, units))
    return max(1, min(cores(), units)) if units > 1 and _seconds(plan, units) > WORTH_SECONDS else 1


def threads_of(plan: Plan, jobs: int) -> int:
    """How many threads each of several processes has."""
    return plan.config.threads or max(1, cores() // jobs)


def _seconds(plan: Plan, units: int) -> float:
    """About what one core would take."""
    steps = plan.settings.total_steps(max(len(f.train) for f in plan.folds))
    flops = cost(plan.spec, plan.settings, len(plan.protocol.classes)).flops
    return units * steps * max(_STEP_SECONDS, _BACKWARD * plan.settings.batch * flops / _RATE)


def _run(work: Work, units: Sequence[Unit], advance: Advance, count: int, threads: int) -> None:
    plan = work.plan
    work.say(
        f"{count} fold{'s side by side, each' * (count > 1)} in a process of {threads} thread{'s' * (threads > 1)}"
    )
    work.loader.verify()
    context = multiprocessing.get_context("spawn")
    ticks, stop, devices = context.Queue(), context.Event(), context.Queue()
    gpus = torch.cuda.device_count() if plan.config.device in ("auto", "cuda") else 0
    for n in range(count):
        devices.put(f"cuda:{n % gpus}" if plan.device.type == "cuda" and gpus else str(plan.device))
    of = {(unit.seed, unit.fold): unit for unit in units}

    def listen() -> None:
        while (tick := ticks.get()) is not None:
            seed, fold, amount, note = tick
            advance(of[seed, fold], amount, note)

    listener = threading.Thread(target=listen, name="progress", daemon=True)
    listener.start()
    given = (plan.config, plan.identity(), threads, devices, ticks, stop)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=given)
    started: list[Any] = []
    try:
        with _ignored_by_children():
            futures = [pool.submit(_unit, unit) for unit in units]
            started = multiprocessing.active_children()
        for done in as_completed(futures):
            done.result()
    except BrokenProcessPool:
        pool.shutdown(cancel_futures=True)
        raise DataError(
            f"a process died ({_how(started)}), most often of memory: give fewer --jobs; what was written stays, and "
            "the same command goes on"
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        ticks.put(None)
        listener.join(TICK_SECONDS * 50)  # a process that was killed may have taken the queue with it


@contextlib.contextmanager
def _ignored_by_children() -> Iterator[None]:
    """Processes that start here take no notice of Ctrl-C, from their first moment: the first process stops them."""
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

    worker: Worker
    ticks: Any
    stop: Any


_HERE: _Here


def _begin(config: FitConfig, identity: dict[str, Any], threads: int, devices: Any, ticks: Any, stop: Any) -> None:
    global _HERE
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also where another thread than the main one started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    own = replace(config, device=devices.get(), threads=None)
    _HERE = _Here(worker=Worker(own, identity), ticks=ticks, stop=stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _unit(unit: Unit) -> None:
    here, told, waiting = _HERE, time.monotonic(), 0

    def on_step(step: int, note: str) -> None:
        nonlocal told, waiting
        waiting += 1
        if time.monotonic() - told > TICK_SECONDS:
            here.ticks.put((unit.seed, unit.fold, waiting, note))
            told, waiting = time.monotonic(), 0
            if here.stop.is_set():
                raise _StoppedError

    fit_fold(here.worker.work(), unit, on_step)
    here.ticks.put((unit.seed, unit.fold, waiting, ""))

"""Trains the units of fits in several processes: each trains one unit at a time, and all map one copy of the features.

The results of a fold depend on its seed, the machine and the threads of its process alone: neither on the number of
processes nor on which of them trains it.
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
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from emofuse.common.errors import DataError
from emofuse.common.output.console import warn
from emofuse.train.fitting.fold import OnProgress, OnUnitEnd, TrainingUnit, UnitInContext, try_fit_fold, verify_features
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.processes.worker import worker_context

IN_A_PROCESS = "in a process with"
"""Part of a message that `reproduce` repeats."""
REPORT_SECONDS = 0.1
"""How often a process reports its progress, and checks whether it is to stop."""


def run(
    tasks: Sequence[UnitInContext], on_progress: OnProgress, on_end: OnUnitEnd, processes: int, threads: int
) -> None:
    """Train and score every unit.

    Args:
        threads: Of each process.

    Raises:
        UsageError, DataError: Of the first unit that fails, or a process died; finished units stay on disk.
    """
    in_parallel = "s in parallel, each" if processes > 1 else ""
    tasks[0][0].say(
        f"training {processes} fold{in_parallel} {IN_A_PROCESS} {threads} thread{'s' if threads > 1 else ''}"
    )
    verify_features(tasks)
    pool = _Pool(tasks, processes, threads)
    with _progress_thread(pool.progress, tasks, on_progress):
        try:
            pool.train(tasks, on_end)
        except BrokenProcessPool:
            pool.executor.shutdown(cancel_futures=True)
            raise DataError(
                f"a process died ({_cause_of_death(pool.started)}), usually out of memory: use fewer --jobs; "
                "what was written is kept, and the same command resumes"
            ) from None
        except KeyboardInterrupt:
            warn("\nstopping: each process ends after its current step")
            raise
        finally:
            with _ignore_interrupts():  # a second Ctrl-C makes nothing faster
                pool.stop.set()
                pool.executor.shutdown(cancel_futures=True)


class _Pool:
    """The processes, and what they share with this one."""

    def __init__(self, tasks: Sequence[UnitInContext], processes: int, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.progress, self.stop = spawn.Queue(), spawn.Event()
        devices = spawn.Queue()
        for device in _devices(tasks[0][0].plan.config.device, tasks[0][0].plan.device, processes):
            devices.put(device)
        self.executor = ProcessPoolExecutor(
            processes,
            mp_context=spawn,
            initializer=_start_process,
            initargs=(threads, devices, self.progress, self.stop),
        )
        self.started: list[BaseProcess] = []

    def train(self, tasks: Sequence[UnitInContext], on_end: OnUnitEnd) -> None:
        with _ignore_interrupts():  # also in the processes started here, from their first moment: this one stops them
            futures = {
                self.executor.submit(_train_unit, context.plan.config, context.plan.identity(), unit): (context, unit)
                for context, unit in tasks
            }
            self.started = multiprocessing.active_children()
        for future in as_completed(futures):
            context, unit = futures[future]
            if not future.cancelled() and not on_end(unit, future.result()):
                for other, (owner, _) in futures.items():
                    if owner is context:
                        other.cancel()


def _devices(asked: str, device: torch.device, processes: int) -> list[str]:
    """The device of each process: the GPUs in turn if the user left the choice open."""
    gpus = torch.cuda.device_count() if asked in ("auto", "cuda") else 0
    return [f"cuda:{n % gpus}" if device.type == "cuda" and gpus else str(device) for n in range(processes)]


@contextlib.contextmanager
def _progress_thread(queue: Any, tasks: Sequence[UnitInContext], on_progress: OnProgress) -> Iterator[None]:
    """A thread that passes on what the processes report."""
    units = {unit.folder: unit for _, unit in tasks}

    def listen() -> None:
        while (message := queue.get()) is not None:
            folder, steps, note = message
            on_progress(units[folder], steps, note)

    listener = threading.Thread(target=listen, name="progress", daemon=True)
    listener.start()
    try:
        yield
    finally:
        with _ignore_interrupts():
            queue.put(None)
            listener.join(REPORT_SECONDS * 50)  # a process that was killed may have left the queue locked


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C; without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _cause_of_death(processes: Sequence[BaseProcess]) -> str:
    """How the first process that failed ended; the pool terminated the others."""
    codes = [p.exitcode for p in processes if p.exitcode not in (None, 0, -signal.SIGTERM)]
    if not codes or codes[0] is None:
        return "ended from outside"
    return signal.Signals(-codes[0]).name if codes[0] < 0 else f"exit code {codes[0]}"


class _StoppedError(Exception):
    """The call of `fit` that this process works for has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProcessState:
    """What a training process got when it started."""

    device: str
    progress: Any
    stop: Any


_PROCESS: _ProcessState


def _start_process(threads: int, devices: Any, progress: Any, stop: Any) -> None:
    global _PROCESS
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # needed if another thread than the main one started the process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _PROCESS = _ProcessState(device=devices.get(), progress=progress, stop=stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_unit(config: FitConfig, identity: dict[str, Any], unit: TrainingUnit) -> str | None:
    """In a training process: how the unit diverged, or None."""
    process, reported, steps = _PROCESS, time.monotonic(), 0

    def on_step(step: int, note: str) -> None:
        nonlocal reported, steps
        steps += 1
        if time.monotonic() - reported > REPORT_SECONDS:
            process.progress.put((unit.folder, steps, note))
            reported, steps = time.monotonic(), 0
            if process.stop.is_set():
                raise _StoppedError

    context = worker_context(replace(config, device=process.device, threads=None), identity)
    diverged = try_fit_fold(context, unit, on_step)
    process.progress.put((unit.folder, steps, ""))
    return diverged

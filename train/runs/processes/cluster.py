"""Trains the units of fits on the workers of a Dask cluster; all share the disk with the stores and the run folders."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.location import Location
from emofuse.common.system.dask_cluster import (
    WorkerReport,
    check_workers,
    completed_results,
    connect_client,
    report_worker,
    shared_folder_problems,
    shared_token,
)
from emofuse.common.system.machine import check_threads
from emofuse.train.fitting.fold import OnProgress, OnUnitEnd, TrainingUnit, UnitInContext, try_fit_fold, verify_features
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.device import find_device
from emofuse.train.runs.processes.worker import worker_context

TOKEN = "under-way"
"""In the name of the file that exists as long as the call that a worker trains for."""
CHECK_SECONDS = 1.0
"""How often a worker checks that file."""
LOCK_SECONDS = 60.0
"""How long a unit waits until another worker lets go of it."""
BUSY = "another worker is still training fold {unit.fold} of seed {unit.seed} ({{holder}}): wait for it, or stop it"
PACKAGES = ("emofuse", "torch", "numpy", "scikit-learn", "h5py")
"""Packages that must have the same version on all workers."""
OUT_OF_MEMORY_HINT = "give them more, or a smaller --set batch"


def run(tasks: Sequence[UnitInContext], on_progress: OnProgress, on_end: OnUnitEnd, address: str) -> None:
    """Train and score every unit on the workers of the scheduler at `address`.

    Raises:
        UsageError: No scheduler or worker answers, or workers cannot train this; lists everything wrong with each.
        UsageError, DataError: Of the first unit that fails on a worker; finished units stay on disk.
    """
    configs = {id(context): _with_absolute_paths(context.plan.config) for context, _ in tasks}
    sizes = {str(path): path.stat().st_size for config in configs.values() for path in _store_files(config)}
    with connect_client(address) as client, _CallTokens(tasks) as tokens:
        check_workers(client, _check_worker, (sizes, tokens.all(), tasks[0][0].plan.config.device), PACKAGES)
        verify_features(tasks)
        call = uuid.uuid4().hex
        resumed = {unit.folder: FoldCheckpoint(unit.folder, torch.device("cpu")).step for _, unit in tasks}
        futures = {
            client.submit(
                _train_unit,
                configs[id(context)],
                context.plan.identity(),
                replace(unit, folder=unit.folder.resolve()),
                tokens.path(unit),
                key=f"{context.plan.title}-{unit.seed}-{unit.fold}-{number}-{call}",
            ): (context, unit)
            for number, (context, unit) in enumerate(tasks)
        }
        stopped = set[int]()
        for (context, unit), diverged in completed_results(
            client, futures, OUT_OF_MEMORY_HINT, lambda task: id(task[0]) in stopped
        ):
            (fold,) = (f for f in context.plan.folds if f.number == unit.fold)
            if diverged is None:
                on_progress(unit, context.plan.training_steps(fold.train) - resumed[unit.folder], "")
            tokens.ended(unit)
            if not on_end(unit, diverged):
                stopped.add(id(context))
                own = {future: other for future, (owner, other) in futures.items() if owner is context}
                client.cancel([future for future in own if not future.done()])  # type: ignore[no-untyped-call]
                for other in own.values():
                    tokens.remove(other)


class _CallTokens:
    """A file in each run folder while this call trains its units: a worker that no longer sees the file stops."""

    def __init__(self, tasks: Sequence[UnitInContext]) -> None:
        self._remaining: dict[Path, int] = {}
        for _, unit in tasks:
            self._remaining[_run_folder(unit)] = self._remaining.get(_run_folder(unit), 0) + 1
        self._files: dict[Path, ExitStack] = {}
        self._tokens: dict[Path, tuple[Path, str]] = {}

    def __enter__(self) -> _CallTokens:
        with ExitStack() as stack:
            for folder in self._remaining:
                for stale in folder.glob(f".{TOKEN}.*"):  # of a call that was killed; its workers stop now
                    stale.unlink(missing_ok=True)
                self._files[folder] = stack.enter_context(ExitStack())
                self._tokens[folder] = self._files[folder].enter_context(shared_token(folder, TOKEN))
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for file in self._files.values():
                stack.push(file)

    def all(self) -> list[tuple[Path, str]]:
        """Every file, and its content."""
        return [*self._tokens.values()]

    def path(self, unit: TrainingUnit) -> Path:
        """The file of a unit's run."""
        return self._tokens[_run_folder(unit)][0]

    def ended(self, unit: TrainingUnit) -> None:
        """Remove the file after the last unit of a run, as the run folder may be renamed then."""
        self._remaining[_run_folder(unit)] -= 1
        if not self._remaining[_run_folder(unit)]:
            self.remove(unit)

    def remove(self, unit: TrainingUnit) -> None:
        """Remove the file of a unit's run: workers that train for it stop."""
        self._files[_run_folder(unit)].close()


def _run_folder(unit: TrainingUnit) -> Path:
    return unit.folder.parent


def _with_absolute_paths(config: FitConfig) -> FitConfig:
    """The config with paths that are valid in a worker's working directory too."""
    protocol = config.protocol
    if protocol and protocol.endswith(".toml"):
        protocol = str(Path(protocol).resolve())
    return replace(
        config,
        store=_absolute(config.store),
        more_stores=tuple(map(_absolute, config.more_stores)),
        test_store=config.test_store and _absolute(config.test_store),
        protocol=protocol,
    )


def _absolute(location: Location) -> Location:
    return location.resolve() if isinstance(location, Path) else location


def _store_files(config: FitConfig) -> list[Path]:
    stores = (config.store, *config.more_stores, *([config.test_store] if config.test_store else []))
    return [store for store in stores if isinstance(store, Path)]


def _check_worker(sizes: dict[str, int], tokens: Sequence[tuple[Path, str]], device: str) -> WorkerReport:
    """On a worker: whether it has the device and sees the same stores (path -> bytes) and run folders."""
    problems, found_device = [], device
    try:
        found_device = str(find_device(device))
    except UsageError as error:
        problems.append(str(error))
    for name, size in sizes.items():
        path = Path(name)
        if not path.is_file():
            problems.append(f"has no {path}: all workers must have the store at the same path")
        elif path.stat().st_size != size:
            problems.append(f"has a different {path}: {path.stat().st_size} bytes, expected {size}")
    for token, content in tokens:
        problems += shared_folder_problems(token, content, "run folder")
    return report_worker(PACKAGES, found_device, problems)


_ONE_AT_A_TIME = threading.Lock()
"""A worker with several threads has one device all the same."""


def _train_unit(config: FitConfig, identity: dict[str, Any], unit: TrainingUnit, token: Path) -> str | None:
    """On a worker: train and score a unit while the file `token` exists; how it diverged, or None."""
    with _ONE_AT_A_TIME:
        if config.threads is not None:
            torch.set_num_threads(check_threads(config.threads))
        checked = time.monotonic()

        def on_step(step: int, note: str) -> None:
            nonlocal checked
            if time.monotonic() - checked > CHECK_SECONDS:
                checked = time.monotonic()
                if not token.exists():
                    raise UsageError("the call of fit that this worker trained for has ended")

        # A worker that was given up, or whose call ended a moment ago, may still be training this unit.
        unit.folder.parent.mkdir(parents=True, exist_ok=True)
        with lock(unit.folder.with_name(f".{unit.folder.name}.lock"), BUSY.format(unit=unit), wait=LOCK_SECONDS):
            return None if unit.done else try_fit_fold(worker_context(config, identity), unit, on_step)

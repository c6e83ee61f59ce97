"""Folds, seeds and variants on the workers of a Dask cluster; stores and run folders lie on a disk that all share."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.location import Location
from emofuse.common.system.cluster import Seen, alike, connected, results, seen, sees, token_in
from emofuse.common.system.machine import within_cores
from emofuse.train.fitting.fold import Advance, Ended, FoldTask, TrainingUnit, attempt, verify
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.worker import work_of

TOKEN, LOOK_SECONDS, PATIENCE = "under-way", 1.0, 60.0
"""The file that says that a call lives, how often it is looked at, and how long a fold waits for another worker."""
BUSY = "another worker still trains fold {unit.fold} of seed {unit.seed} ({{holder}}): wait for it, or stop it"
PACKAGES = ("emofuse", "torch", "numpy", "scikit-learn", "h5py")
"""What all must compute with alike."""


def run(tasks: Sequence[FoldTask], advance: Advance, ended: Ended, address: str) -> None:
    """Train and score every unit on the workers of the scheduler at `address`.

    Raises:
        UsageError: No scheduler or worker answers, or a worker cannot do this work; all that is wrong with each.
        UsageError, DataError: As a worker raised it; what is finished stays.
    """
    paths = {str(p): p.stat().st_size for work, _ in tasks for p in _paths(_whole(work.plan.config))}
    left = Counter(unit.folder.parent for _, unit in tasks)
    with connected(address) as client, ExitStack() as stack:
        # They lie there as long as this call lives: workers that no longer see theirs stop.
        held = {place: stack.enter_context(ExitStack()) for place in left}
        tokens = {place: one.enter_context(_token(place)) for place, one in held.items()}
        alike(client, _look, (paths, [*tokens.values()], tasks[0][0].plan.config.device), PACKAGES)
        verify(tasks)
        call = uuid.uuid4().hex
        began = {unit.folder: FoldCheckpoint(unit.folder, torch.device("cpu")).step for _, unit in tasks}
        futures = {
            client.submit(
                _train,
                _whole(work.plan.config),
                work.plan.identity(),
                replace(unit, folder=unit.folder.resolve()),
                tokens[unit.folder.parent][0],
                key=f"{work.plan.title}-{unit.seed}-{unit.fold}-{number}-{call}",
            ): (work, unit)
            for number, (work, unit) in enumerate(tasks)
        }
        hint, unwanted = "give them more, or a smaller --set batch", set[int]()
        for (work, unit), diverged in results(client, futures, hint, lambda task: id(task[0]) in unwanted):
            (fold,) = (f for f in work.plan.folds if f.number == unit.fold)
            if diverged is None:
                advance(unit, work.plan.settings.total_steps(len(fold.train)) - began[unit.folder], "")
            place = unit.folder.parent
            left[place] -= 1
            if not left[place]:
                held[place].close()  # the folder may get its name now
            if not ended(unit, diverged):
                unwanted.add(id(work))
                rest = {future: other for future, (owner, other) in futures.items() if owner is work}
                client.cancel([future for future in rest if not future.done()])  # type: ignore[no-untyped-call]
                for other in rest.values():  # who trains one of them now stops
                    held[other.folder.parent].close()


def _token(place: Path) -> AbstractContextManager[tuple[Path, str]]:
    for left in place.glob(f".{TOKEN}.*"):  # of a call that was killed; its workers stop now
        left.unlink(missing_ok=True)
    return token_in(place, TOKEN)


def _whole(config: FitConfig) -> FitConfig:
    """The call with paths that hold wherever a worker stands."""
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


def _absolute(where: Location) -> Location:
    return where.resolve() if isinstance(where, Path) else where


def _paths(config: FitConfig) -> list[Path]:
    stores = (config.store, *config.more_stores, *([config.test_store] if config.test_store else []))
    return [store for store in stores if isinstance(store, Path)]


def _look(paths: dict[str, int], tokens: Sequence[tuple[Path, str]], device: str) -> Seen:
    """On a worker: whether it sees the stores and the runs' folders, and has the device."""
    from emofuse.train.resolve.plan import find_device

    problems, found = [], device
    try:
        found = str(find_device(device))
    except UsageError as error:
        problems.append(str(error))
    for name, size in paths.items():
        path = Path(name)
        if not path.is_file():
            problems.append(f"has no {path}: the store must lie at the same place for all")
        elif path.stat().st_size != size:
            problems.append(f"has another {path}, of {path.stat().st_size} bytes and not {size}")
    for token, content in tokens:
        problems += sees(token, content, "run folder")
    return seen(PACKAGES, found, problems)


_ONE_AT_A_TIME = threading.Lock()


def _train(config: FitConfig, identity: dict[str, Any], unit: TrainingUnit, token: Path) -> str | None:
    """On a worker: train and score a fold while `token` is there."""
    with _ONE_AT_A_TIME:  # a worker with several threads has one device all the same
        if config.threads is not None:
            torch.set_num_threads(within_cores(config.threads))
        looked = time.monotonic()

        def on_step(step: int, note: str) -> None:
            nonlocal looked
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                if not token.exists():
                    raise UsageError("the call that this worker trained for has ended")

        # A worker that was given up may still be at it, or one whose call has ended a moment ago.
        unit.folder.parent.mkdir(parents=True, exist_ok=True)
        with lock(unit.folder.with_name(f".{unit.folder.name}.lock"), BUSY.format(unit=unit), wait=PATIENCE):
            return None if unit.done else attempt(work_of(config, identity), unit, on_step)

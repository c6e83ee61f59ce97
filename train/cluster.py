"""Folds and seeds on the workers of a Dask cluster, which read one store and write one run folder on a shared disk."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emofuse.common.cluster import Seen, alike, connected, results, seen, sees, token_in
from emofuse.common.errors import UsageError
from emofuse.common.location import Location
from emofuse.common.locking import lock
from emofuse.train.config import FitConfig
from emofuse.train.fold import Advance, Unit, Work, fit_fold
from emofuse.train.worker import Worker

TOKEN, LOOK_SECONDS, PATIENCE = "under-way", 1.0, 60.0
"""The file that says that a call lives, how often it is looked at, and how long a fold waits for another worker."""
BUSY = "another worker still trains fold {unit.fold} of seed {unit.seed} ({{holder}}): wait for it, or stop it"
PACKAGES = ("emofuse", "torch", "numpy", "scikit-learn", "h5py")
"""What all must compute with alike."""


def run(work: Work, units: Sequence[Unit], advance: Advance, address: str) -> None:
    """Train and score every unit on the workers of the scheduler at `address`.

    Raises:
        UsageError: No scheduler or worker answers, or a worker cannot do this work; all that is wrong with each.
        UsageError, DataError: As a worker raised it; what is finished stays.
    """
    plan = work.plan
    config = _whole(plan.config)
    steps = {f.number: plan.settings.total_steps(len(f.train)) for f in plan.folds}
    paths = {str(path): path.stat().st_size for path in _paths(config)}
    with connected(address) as client:
        folder = units[0].folder.parent
        for left in folder.glob(f".{TOKEN}.*"):  # of a call that was killed; its workers stop now
            left.unlink(missing_ok=True)
        # It lies there as long as this call lives: workers that no longer see it stop.
        with token_in(folder, TOKEN) as (token, content):
            alike(client, _look, (paths, token, content, config.device), PACKAGES)
            work.loader.verify()
            call, identity = uuid.uuid4().hex, plan.identity()
            futures = {
                client.submit(
                    _train,
                    config,
                    identity,
                    replace(unit, folder=unit.folder.resolve()),
                    token,
                    key=f"{plan.title}-{unit.seed}-{unit.fold}-{call}",
                ): unit
                for unit in units
            }
            for unit, done in results(client, futures, "give them more, or a smaller --set batch"):
                advance(unit, steps[unit.fold] - done, "")


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


def _look(paths: dict[str, int], token: Path, content: str, device: str) -> Seen:
    """On a worker: whether it sees the stores and the run's folder, and has the device."""
    from emofuse.train.plan import find_device

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
    return seen(PACKAGES, found, problems + sees(token, content, "run folder"))


_WORKERS: dict[str, Worker] = {}
_ONE_AT_A_TIME = threading.Lock()


def _train(config: FitConfig, identity: dict[str, Any], unit: Unit, token: Path) -> int:
    """On a worker: train and score a fold while `token` is there; gives the step that it went on from."""
    import torch

    from emofuse.train.plan import find_device
    from emofuse.train.resume import Keeper

    with _ONE_AT_A_TIME:  # a worker with several threads has one device all the same
        asked = repr((config, identity))
        if asked not in _WORKERS:
            for other in _WORKERS.values():
                other.close()
            _WORKERS.clear()
            _WORKERS[asked] = Worker(config, identity)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
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
            went_on_from = Keeper(unit.folder, find_device(config.device)).step
            if not unit.done:
                fit_fold(_WORKERS[asked].work(), unit, on_step)
            return went_on_from

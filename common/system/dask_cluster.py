"""Dask clusters: start or connect to one, check its workers before any work, and collect the results.

`dask` and `distributed` are imported only when a cluster is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emofuse.common.errors import DataError, UsageError, raise_problems
from emofuse.common.system.allocator import LARGE_PAGES
from emofuse.common.system.machine import usable_cores

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
CONNECT_SECONDS, START_SECONDS = 20.0, 120.0
"""Time limits for a scheduler and its workers, and for workers started here, which may import from a slow disk."""

_TOKEN_DIGITS, _STALE_TOKEN_SECONDS = 8, 3600.0


@contextlib.contextmanager
def local_cluster(workers: int, gpus: int) -> Iterator[str]:
    """Start a cluster on this machine, and stop it at the end; yields its address.

    Args:
        workers: The number of processes. Each gets one GPU, where there are any, and its share of the cores.
        gpus: The number of GPUs to distribute.
    """
    with _quiet_dask():
        from distributed import Nanny, Scheduler, SpecCluster

        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, usable_cores() // workers))
        environment = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "DASK_LOGGING__DISTRIBUTED": "critical",
            **LARGE_PAGES,
        }

        def options(number: int) -> dict[str, Any]:
            gpu = {"CUDA_VISIBLE_DEVICES": _visible_gpu(number % gpus)} if gpus else {}
            return {
                "nthreads": 1,
                "env": {**environment, **gpu},
                "memory_limit": 0,
                "silence_logs": logging.CRITICAL,
                "host": "127.0.0.1",  # no other machine on the network may send it work
                "dashboard_address": "127.0.0.1:0",
            }

        cluster = SpecCluster(  # type: ignore[no-untyped-call]
            scheduler={
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"},
            },
            workers={n: {"cls": Nanny, "options": options(n)} for n in range(workers)},
        )
        with cluster:
            yield str(cluster.scheduler_address)


def _visible_gpu(number: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES that shows a process one of the GPUs that this process may use."""
    visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    return visible[number] if number < len(visible) else str(number)


def check_scheduler(address: str) -> None:
    """Refuse an address at which no scheduler answers, before any work.

    Raises:
        UsageError: It is not an address, or nothing there answers as a Dask scheduler does.
    """
    with _quiet_dask():
        from distributed.comm.addressing import parse_address, parse_host_port
        from distributed.comm.registry import get_backend

        try:
            scheme, place = parse_address(address)
            get_backend(scheme)
            if scheme != "inproc":
                parse_host_port(place)
        except ValueError as error:
            raise UsageError(f"--scheduler {address}: {error}; expected an address such as tcp://HOST:8786") from None
        try:
            # On another thread: that of a notebook has an event loop already.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, asyncio.wait_for(_handshake(address), CONNECT_SECONDS)).result()
        except (OSError, TimeoutError):
            raise UsageError(
                f"no Dask scheduler answers at {address} within {CONNECT_SECONDS:.0f} s; start one with "
                "`dask scheduler`, and pass the address that it prints"
            ) from None
        except (TypeError, ValueError, RuntimeError) as error:  # a protocol that is not set up here
            raise UsageError(f"--scheduler {address}: {error}") from None


async def _handshake(address: str) -> None:
    """Connect once without a client: at the port of another service, a client would wait forever."""
    from distributed.comm.core import connect
    from distributed.security import Security

    secure = Security().get_connection_args("client")  # type: ignore[no-untyped-call]  # of Dask's configuration
    comm = await connect(address, timeout=CONNECT_SECONDS, **secure)  # type: ignore[no-untyped-call]
    await comm.close()


@contextlib.contextmanager
def connect_client(address: str, started: int | None = None) -> Iterator[Client]:
    """A client of the scheduler at `address`, once it has a worker.

    Args:
        address: For example `tcp://HOST:8786`.
        started: The number of workers started on this machine, which are all waited for.

    Raises:
        UsageError: No scheduler answers there, or it has no worker.
    """
    with _quiet_dask():
        from distributed import Client

        check_scheduler(address)
        with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            try:
                client.wait_for_workers(started or 1, timeout=START_SECONDS if started else CONNECT_SECONDS)
            except TimeoutError:
                if started:
                    raise UsageError(
                        f"{len(client.ncores())} of {started} processes started within {START_SECONDS:.0f} s; "
                        "give fewer --workers, or free some memory"
                    ) from None
                raise UsageError(
                    f"the scheduler at {address} has no worker; start some with `dask worker {address} --nthreads 1`"
                ) from None
            yield client


@contextlib.contextmanager
def _quiet_dask() -> Iterator[None]:
    """Silence Dask's own messages: errors are reported by ours, and the rest does not help a user."""
    try:
        import dask

        dask.config.set({"logging.distributed": "critical"})  # read when `distributed` is imported
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"several processes need {error.name}: pip install 'emofuse[dask]'") from None

    names = ("distributed", "distributed.client", "distributed.core", "distributed.nanny", "tornado")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set({"distributed.scheduler.allowed-failures": 5}):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker reports about itself."""

    host: str
    versions: Mapping[str, str | None]
    device: str
    problem: str
    """What makes it unusable; empty when nothing does."""


def report_worker(packages: Sequence[str], device: str, problems: Sequence[str]) -> WorkerReport:
    """The report of the worker that calls this."""
    return WorkerReport(
        host=socket.gethostname(), versions=package_versions(packages), device=device, problem="; ".join(problems)
    )


def package_versions(packages: Sequence[str]) -> dict[str, str | None]:
    """The installed versions, None for a missing package; workers with other versions could compute other values."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_workers(
    client: Client, inspect: Callable[..., WorkerReport], arguments: Sequence[Any], packages: Sequence[str]
) -> str:
    """Run `inspect(*arguments)` on every worker, and return the device that they all have.

    Raises:
        UsageError: A worker has other versions, another device or a problem; all of them are named.
    """
    reports = client.run(inspect, *arguments, on_error="return")
    ours = package_versions(packages)
    problems = [problem for address, report in reports.items() for problem in _worker_problems(address, report, ours)]
    devices = {r.device.partition(":")[0] for r in reports.values() if isinstance(r, WorkerReport)}
    if not problems and len(devices) > 1:
        problems.append(
            f"some workers have {' and others '.join(sorted(devices))}: pass --device cpu, or choose workers"
        )
    if not reports:
        problems.append("no worker is left: start some, and run the same command again")
    raise_problems(problems, "the cluster cannot do this work")
    return str(next(iter(reports.values())).device)


def _worker_problems(address: str, report: object, ours: Mapping[str, str | None]) -> list[str]:
    """What is wrong with one worker; `report` is the error where the inspection itself failed."""
    if not isinstance(report, WorkerReport):
        return [f"worker {address} cannot run emofuse: {type(report).__name__}: {report}"]
    worker = f"worker {address} on {report.host}"
    others = [f"{n} {v or 'absent'} (here {ours[n]})" for n, v in report.versions.items() if v != ours[n]]
    problems = [f"{worker} has {', '.join(others)}: all must have the same versions"] if others else []
    return problems + ([f"{worker}: {report.problem}"] if report.problem else [])


def remove_stale_tokens(folder: Path, name: str) -> None:
    """Delete the files of `shared_token` that calls left which were killed while they inspected their workers."""
    written_before = time.time() - _STALE_TOKEN_SECONDS
    for token in folder.glob(f".{glob.escape(name)}.{'[0-9a-f]' * _TOKEN_DIGITS}"):
        with contextlib.suppress(OSError):
            if token.stat().st_mtime < written_before:
                token.unlink()


@contextlib.contextmanager
def shared_token(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """A file in a folder by which workers check that they see it; yields its path and content, and deletes it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = uuid.uuid4().hex
    token = folder.resolve() / f".{name}.{content[:_TOKEN_DIGITS]}"
    token.write_text(content)
    try:
        yield token, content
    finally:
        token.unlink(missing_ok=True)


def shared_folder_problems(token: Path, content: str, thing: str) -> list[str]:
    """On a worker: what is wrong with the folder of a `shared_token`.

    Args:
        token: The path of the token.
        content: What it must contain.
        thing: What lies in the folder, in messages.
    """
    try:
        seen = token.read_text()
    except OSError:
        seen = ""
    if seen != content:
        return [f"does not see {token.parent}: the {thing} must lie on a disk that all share"]
    return [] if os.access(token.parent, os.W_OK) else [f"may not write into {token.parent}"]


def completed_results(
    client: Client, futures: Mapping[Future[Any], T], hint: str, dropped: Callable[[T], bool] = lambda task: False
) -> Iterator[tuple[T, Any]]:
    """Each task with its result, as they complete; unfinished ones are cancelled when the loop ends.

    Args:
        client: The client that submitted them.
        futures: The task of each future.
        hint: What to do when workers die repeatedly.
        dropped: Whether the caller itself cancelled a task.

    Raises:
        DataError: Workers died repeatedly over one task, or the scheduler stopped.
        EmofuseError: As a worker raised it.
    """
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    resumes = "what was written is kept, and the same command resumes"
    try:
        for future in as_completed(list(futures), loop=client.loop):  # type: ignore[no-untyped-call]
            if not (future.cancelled() and dropped(futures[future])):
                yield futures[future], future.result()
    except KilledWorker as error:
        raise DataError(
            f"workers died repeatedly over one task ({error}), usually out of memory: {hint}; {resumes}"
        ) from None
    except FutureCancelledError:
        raise DataError(f"the scheduler stopped; {resumes}") from None
    finally:
        with contextlib.suppress(Exception):  # the scheduler may have stopped, and its error is already raised
            client.cancel(list(futures))  # type: ignore[no-untyped-call]

"""A Dask cluster, found or started, a look at its workers before any work, and what comes of the work.

`dask` and `distributed` are imported only where a cluster was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emofuse.common.errors import DataError, UsageError, complain
from emofuse.common.system.allocator import LARGE_PAGES
from emofuse.common.system.machine import cores

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
CONNECT_SECONDS, START_SECONDS = 20.0, 120.0
"""To wait for a scheduler and its workers; for those that are started here, which first import from a slow disk."""


@contextlib.contextmanager
def local(workers: int, gpus: int) -> Iterator[str]:
    """A cluster on this machine; gives its address.

    Args:
        workers: Processes. Each has one GPU, where there are any, and its share of the cores.
        gpus: How many GPUs there are to share out.
    """
    with _quiet_dask():
        from distributed import Nanny, Scheduler, SpecCluster

        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // workers))
        plain = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "DASK_LOGGING__DISTRIBUTED": "critical",
            **LARGE_PAGES,
        }

        def options(number: int) -> dict[str, Any]:
            own = {"CUDA_VISIBLE_DEVICES": _visible(number % gpus)} if gpus else {}
            return {
                "nthreads": 1,
                "env": {**plain, **own},
                "memory_limit": 0,
                "silence_logs": logging.CRITICAL,
                "host": "127.0.0.1",  # nobody else on the network shall send it work
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


def _visible(number: int) -> str:
    """What a process must have in CUDA_VISIBLE_DEVICES to see one GPU, of those that this process sees."""
    seen = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    return seen[number] if number < len(seen) else str(number)


def answers(address: str) -> None:
    """Refuse an address at which no scheduler answers, before any work.

    Raises:
        UsageError: It is no address, nothing listens there, or what does speaks another language.
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
            # On a thread of its own: a notebook's has an event loop already.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, asyncio.wait_for(_greeted(address), CONNECT_SECONDS)).result()
        except (OSError, TimeoutError):
            raise UsageError(
                f"no Dask scheduler answers at {address} within {CONNECT_SECONDS:.0f} s; start one with "
                "`dask scheduler`, and pass the address that it prints"
            ) from None
        except (TypeError, ValueError, RuntimeError) as error:  # a kind of connection that is not set up here
            raise UsageError(f"--scheduler {address}: {error}") from None


async def _greeted(address: str) -> None:
    """A client of a port where something else listens would wait for ever, and longer when it is given up."""
    from distributed.comm.core import connect
    from distributed.security import Security

    secure = Security().get_connection_args("client")  # type: ignore[no-untyped-call]  # Dask's own settings
    comm = await connect(address, timeout=CONNECT_SECONDS, **secure)  # type: ignore[no-untyped-call]
    await comm.close()


@contextlib.contextmanager
def connected(address: str, started: int | None = None) -> Iterator[Client]:
    """A client of the scheduler at `address`, once a worker is there, or all that were `started` on this machine.

    Raises:
        UsageError: No scheduler answers there, or no worker comes.
    """
    with _quiet_dask():
        from distributed import Client

        answers(address)
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
    """Dask's own messages end in ours, or say nothing that a user could mend."""
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
class Seen:
    """What a worker says of itself."""

    host: str
    versions: Mapping[str, str | None]
    device: str
    problem: str


def seen(packages: Sequence[str], device: str, problems: Sequence[str]) -> Seen:
    """On a worker: what it says."""
    return Seen(host=socket.gethostname(), versions=versions(packages), device=device, problem="; ".join(problems))


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """What all must compute with alike."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def alike(client: Client, look: Callable[..., Seen], arguments: Sequence[Any], packages: Sequence[str]) -> str:
    """The device that all workers have, after `look(*arguments)` on each of them.

    Raises:
        UsageError: A worker has another version, another device or a problem; all are named.
    """
    said = client.run(look, *arguments, on_error="return")
    ours, problems = versions(packages), []
    for address, found in said.items():
        if not isinstance(found, Seen):
            problems.append(f"worker {address} cannot run emofuse: {type(found).__name__}: {found}")
            continue
        other = [f"{n} {v or 'absent'} (here {ours[n]})" for n, v in found.versions.items() if v != ours[n]]
        where = f"worker {address} on {found.host}"
        if other:
            problems.append(f"{where} has {', '.join(other)}: all must compute with the same")
        if found.problem:
            problems.append(f"{where}: {found.problem}")
    devices = {s.device.partition(":")[0] for s in said.values() if isinstance(s, Seen)}
    if not problems and len(devices) > 1:
        problems.append(
            f"some workers have {' and others '.join(sorted(devices))}: pass --device cpu, or choose workers"
        )
    if not said:
        problems.append("no worker is left: start some, and give the same command again")
    complain(problems, "the cluster cannot do this work")
    return str(next(iter(said.values())).device)


@contextlib.contextmanager
def token_in(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """A file in a folder and what it holds, for workers to say whether they see it; it goes at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    content = uuid.uuid4().hex
    token = folder.resolve() / f".{name}.{content[:8]}"
    token.write_text(content)
    try:
        yield token, content
    finally:
        token.unlink(missing_ok=True)


def sees(token: Path, content: str, thing: str) -> list[str]:
    """On a worker: what is wrong with a shared folder, by the file that the coordinator wrote there."""
    try:
        there = token.read_text()
    except OSError:
        there = ""
    if there != content:
        return [f"does not see {token.parent}: the {thing} must lie on a disk that all share"]
    return [] if os.access(token.parent, os.W_OK) else [f"may not write into {token.parent}"]


def results(
    client: Client, futures: Mapping[Future[Any], T], hint: str, dropped: Callable[[T], bool] = lambda work: False
) -> Iterator[tuple[T, Any]]:
    """What comes of each piece of work, as it becomes ready; what is left is cancelled when the loop ends.

    Args:
        hint: What to do where workers die again and again.
        dropped: Whether it was the caller who cancelled a piece.

    Raises:
        DataError: Workers die again and again over one piece, or the scheduler went away.
        EmofuseError: As a worker raised it.
    """
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    try:
        for future in as_completed(list(futures), loop=client.loop):  # type: ignore[no-untyped-call]
            if not (future.cancelled() and dropped(futures[future])):
                yield futures[future], future.result()
    except KilledWorker as error:
        raise DataError(
            f"workers died again and again over one piece of work ({error}), most often of memory: {hint}; what was "
            "written stays, and the same command goes on"
        ) from None
    except FutureCancelledError:
        raise DataError("the scheduler went away; what was written stays, and the same command goes on") from None
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone: what went wrong is on its way already
            client.cancel(list(futures))  # type: ignore[no-untyped-call]

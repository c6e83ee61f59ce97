"""A Dask cluster, found or started, and a look at its workers before any work."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.errors import UsageError, complain
from emofuse.common.files import behind_link
from emofuse.extract.allocator import LARGE_PAGES
from emofuse.extract.job import Job

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 20.0
_VERSIONS = ("emofuse", "torch", "transformers", "torchaudio", "numpy")


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


@contextlib.contextmanager
def connected(address: str, workers: int = 1) -> Iterator[Client]:
    """A client of the scheduler at `address`, once `workers` workers are there.

    Raises:
        UsageError: No scheduler answers there, or no worker comes.
    """
    with _quiet_dask():
        from distributed import Client
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
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
        except OSError:
            raise UsageError(
                f"no Dask scheduler answers at {address} within {CONNECT_SECONDS:.0f} s; start one with "
                "`dask scheduler`, and pass the address that it prints"
            ) from None
        with client:
            try:
                client.wait_for_workers(workers, timeout=CONNECT_SECONDS)
            except TimeoutError:
                there = len(client.scheduler_info()["workers"])
                raise UsageError(
                    f"the scheduler at {address} has {there} workers, {workers} are needed; start them with "
                    f"`dask worker {address} --nthreads 1`"
                ) from None
            yield client


@contextlib.contextmanager
def _quiet_dask() -> Iterator[None]:
    """Dask's own messages end in ours, or say nothing that a user could mend."""
    import dask

    dask.config.set({"logging.distributed": "critical"})  # read when `distributed` is imported
    import distributed  # noqa: F401

    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.core", "distributed.nanny", "tornado")]
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


def look(root: Path, clip: tuple[str, int] | None, token: Path, content: str, device: str) -> Seen:
    """On a worker: whether it has what the work needs.

    Args:
        root: The corpus.
        clip: One of its files and its size in bytes; none: no audio is read.
        token: A file that the coordinator wrote beside the store.
        content: What it holds.
        device: As the user asked for it.
    """
    import socket

    from emofuse.extract.options import device_of

    problems, found = [], device
    try:
        found = device_of(device)
    except UsageError as error:
        problems.append(str(error))
    if clip is not None:
        path = root / clip[0]
        if not path.is_file():
            problems.append(f"has no {path}: the corpus must lie at the same place for all")
        elif path.stat().st_size != clip[1]:
            problems.append(f"has another {path}, of {path.stat().st_size} bytes and not {clip[1]}")
    try:
        there = token.read_text()
    except OSError:
        there = ""
    if there != content:
        problems.append(f"does not see {token.parent}: the store must lie on a disk that all share")
    elif not os.access(token.parent, os.W_OK):
        problems.append(f"may not write into {token.parent}")
    return Seen(
        host=socket.gethostname(),
        versions=versions(),
        device=found,
        problem="; ".join(problems),
    )


def versions() -> dict[str, str | None]:
    """What all must compute with alike."""
    return {name: _version(name) for name in _VERSIONS}


def cores() -> int:
    """Cores that this process may use: a cluster's manager may give it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def inspect(client: Client, jobs: Sequence[Job], asked: str) -> str:
    """The device that all workers have, after a look at each of them.

    Raises:
        UsageError: A worker has another version, no corpus, no shared disk or another device; all are named.
    """
    first = jobs[0]
    folder = behind_link(first.store).parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    content = uuid.uuid4().hex
    token = folder / f".{first.store.name}.{content[:8]}"
    root = first.root.resolve()
    reads_audio = any(job.encoder.modality == "audio" for job in jobs)
    spoken = (u.audio for u in first.manifest.utterances if reads_audio and u.audio and (root / u.audio).is_file())
    clip = next(((audio, (root / audio).stat().st_size) for audio in spoken), None)
    token.write_text(content)
    try:
        said = client.run(look, root, clip, token, content, asked, on_error="return")
    finally:
        token.unlink(missing_ok=True)
    ours = versions()
    problems = []
    for address, seen in said.items():
        if not isinstance(seen, Seen):
            problems.append(f"worker {address} cannot run emofuse: {type(seen).__name__}: {seen}")
            continue
        other = [f"{n} {v or 'absent'} (here {ours[n]})" for n, v in seen.versions.items() if v != ours[n]]
        where = f"worker {address} on {seen.host}"
        if other:
            problems.append(f"{where} has {', '.join(other)}: all must compute with the same")
        if seen.problem:
            problems.append(f"{where} {seen.problem}")
    devices = {s.device.partition(":")[0] for s in said.values() if isinstance(s, Seen)}
    if not problems and len(devices) > 1:
        problems.append(
            f"some workers have {' and others '.join(sorted(devices))}: pass --device cpu, or choose workers"
        )
    complain(problems, "the cluster cannot do this work")
    return str(next(iter(said.values())).device)


def gpus() -> int:
    """How many GPUs this process sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0

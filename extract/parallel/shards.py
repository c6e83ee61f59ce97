"""The same work on many processes: the workers of a cluster encode shards, and the coordinator merges them.

What a shard is depends on the manifest and the budget alone, never on how many workers there are. Each worker builds
its own encoder and writes its own shards, in a folder beside the store, by the same loop that one process uses; a shard
whose worker died goes to another one, which goes on from what was written.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from emofuse.common.console import say
from emofuse.common.disk.files import behind_link
from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.progress import Progress
from emofuse.common.system.cluster import results, versions
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.parallel.cluster import PACKAGES
from emofuse.extract.plan import views
from emofuse.extract.plan.budget import as_begun
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob, JobOutcome, frame_counts, is_known, lacking
from emofuse.extract.plan.passes import by_source, plan, shares
from emofuse.extract.plan.precision import sampled
from emofuse.manifests.schema import Excluded
from emofuse.store.edit.merge import PLANNED, SHARD, collect

if TYPE_CHECKING:
    from distributed import Client

SHARD_WORK = {"audio": 600_000.0, "text": 20_000.0}
"""Milliseconds of audio, or tokens, of a shard: what a worker takes at once."""
MOST_SHARDS = 1024
_LONGEST_NAME = 120
PATIENCE = 3600.0
"""Seconds that a shard waits for the worker that an interrupted call left at work on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """A shard, as it travels to a worker: jobs without their encoders, which the worker builds."""

    number: int
    jobs: tuple[FeatureJob, ...]
    versions: Mapping[str, str | None]
    """What the coordinator computes with."""
    seconds: float
    """Of audio or, where texts are encoded, of what they say."""

    @property
    def hours(self) -> float:
        """Of audio that is decoded."""
        return self.seconds / 3600 if any(job.clips for job in self.jobs) else 0.0


def share_of_work(jobs: Sequence[FeatureJob], number: int, of: int) -> list[FeatureJob]:
    """What falls to process `number` of `of` that know nothing of each other, each with a store of its own.

    Args:
        jobs: With their budgets settled.
    """
    wanted = {job.feature: lacking(job) for job in jobs}
    path = shard_path(jobs[0].store, number, of)
    mine = [
        replace(
            job,
            store=path,
            whole=jobs[0].manifest,
            provenance={**job.provenance, SHARD: [number, of], PLANNED: job.budget},
        )
        for job in shares(sampled(jobs), of, wanted)[number - 1]
    ]
    return as_begun(mine)


def shard_path(store: Path, number: int, of: int) -> Path:
    """`cache/iemocap.shard-03-of-16.h5` for the third of sixteen of `cache/iemocap.h5`."""
    return store.with_name(f"{store.stem}.shard-{number:0{len(str(of))}d}-of-{of}{store.suffix}")


def run(client: Client, jobs: Sequence[FeatureJob], quiet: bool = False) -> list[JobOutcome]:
    """Encode what the stores still lack on the workers, and merge what they wrote.

    Args:
        client: Of a cluster that `inspect` has looked at.
        jobs: As `runner.run` takes them, of one store.

    Raises:
        UsageError: As a worker raised it, or another command does the same.
        DataError: As a worker raised it, or workers die again and again; finished shards stay.
    """
    started = time.monotonic()
    wanted = {job.feature: lacking(job) for job in jobs}
    todo = [job for job in jobs if wanted[job.feature] or not is_known(job)]
    failed: dict[str, list[Excluded]] = {job.feature: [] for job in jobs}
    if todo:
        store, names = behind_link(todo[0].store), [job.feature for job in todo]
        folder = _folder(store, names)
        busy = f"another command works in {folder} ({{holder}}); wait for it or stop it"
        with lock(folder.with_name(f"{folder.name}.lock"), busy):
            tasks = _tasks(sampled(todo), wanted, folder)
            _say_idle(len(client.ncores()), len(tasks))  # type: ignore[no-untyped-call]
            for outcomes in _encoded(client, tasks, " and ".join(names), quiet):
                for outcome in outcomes:
                    failed[outcome.feature] += outcome.failed
            gone = [item for items in failed.values() for item in items]
            # What an earlier call left of another plan counts where this one's shards have nothing.
            now = {task.jobs[0].store.name: None for task in tasks}
            shards = sorted(folder.glob("*.h5"), key=lambda path: (path.name not in now, path.name))
            if shards or store.exists():
                collect(store, todo[0].stored_manifest.excluding(gone), names, shards)
            shutil.rmtree(folder, ignore_errors=True)  # a network disk may keep what another machine has open
    seconds = time.monotonic() - started
    return [
        JobOutcome(
            feature=job.feature,
            written=len(wanted[job.feature]) - len(failed[job.feature]),
            held=len(frame_counts(job)) - len(failed[job.feature]),
            seconds=seconds,
            failed=tuple(failed[job.feature]),
        )
        for job in jobs
    ]


def _say_idle(workers: int, shards: int) -> None:
    if shards < workers:
        minutes, tokens = SHARD_WORK["audio"] / 60_000, SHARD_WORK["text"]
        each = f"a shard is about {minutes:g} minutes of audio, or {tokens:g} tokens"
        say(f"{shards} of {workers} workers have something to do: {each}")


def _folder(store: Path, names: Sequence[str]) -> Path:
    """Where shards grow; those of other features may wait beside it for the command that goes on with them."""
    called = "+".join(names)
    if len(called) > _LONGEST_NAME:
        called = xxhash.xxh3_64_hexdigest(called.encode())
    return store.with_name(f"{store.name}.{called}.shards")


def _tasks(jobs: Sequence[FeatureJob], wanted: Mapping[str, set[str]], folder: Path) -> list[ShardTask]:
    """Shards, the largest first. Jobs of one plan go together, so that a worker decodes a clip once for all of them."""
    alike: dict[tuple[str, float | None], list[FeatureJob]] = {}
    for job in jobs:
        alike.setdefault((job.computes.modality, job.budget), []).append(job)
    folder.mkdir(parents=True, exist_ok=True)
    digest = jobs[0].manifest.digest()
    found: list[ShardTask] = []
    for (modality, budget), same in alike.items():
        count = shard_count(same)
        for number, share in enumerate(shares(same, count, wanted), 1):
            if share:
                path = folder.resolve() / f"{modality}-{budget:g}-{number:04d}-of-{count:04d}.h5"
                seconds = max(job.manifest.hours * 3600 for job in share)
                sent = tuple(_without_encoder(job, path, digest) for job in share)
                found.append(ShardTask(number=len(found), jobs=sent, versions=versions(PACKAGES), seconds=seconds))
    return sorted(found, key=lambda task: -task.seconds)


def shard_count(jobs: Sequence[FeatureJob]) -> int:
    """How many shards the work of jobs with one plan makes, however many workers there are."""
    work = sum(plan(by_source(jobs)[0]).sizes.values())
    return max(1, min(MOST_SHARDS, round(work / SHARD_WORK[jobs[0].computes.modality])))


def _without_encoder(job: FeatureJob, store: Path, digest: str) -> FeatureJob:
    nothing: Any = None
    provenance = {**job.provenance, "manifest": digest}
    return replace(job, store=store, root=job.root.resolve(), encoder=nothing, source=nothing, provenance=provenance)


def _encoded(client: Client, tasks: Sequence[ShardTask], title: str, quiet: bool) -> Iterator[list[JobOutcome]]:
    """What came of each shard, as the shards become ready."""
    call = uuid.uuid4().hex
    futures = {client.submit(encode_shard, task, key=f"{title}-{task.number}-{call}"): task for task in tasks}
    hours, started = 0.0, time.monotonic()
    sizes = {task.number: sum(len(job.manifest) for job in task.jobs) for task in tasks}
    work = sum(task.seconds for task in tasks)
    with Progress(sum(sizes.values()), title, "utterances", work=work, quiet=quiet) as progress:
        task: ShardTask
        outcomes: list[JobOutcome]
        for task, outcomes in results(client, futures, "give a smaller --budget"):
            hours += task.hours
            speed = hours * 3600 / max(time.monotonic() - started, 1e-9)
            note = f"{hours:.2f} h, {speed:.0f} x real time" if hours else ""
            progress.advance(sizes[task.number], note, work=task.seconds)
            for item in {item: None for outcome in outcomes for item in outcome.failed}:
                progress.say(f"excluded {item.id}: {item.reason.partition(': ')[2]}")
            yield outcomes


_ENCODERS: dict[EncoderRecipe, tuple[Encoder, Encoder]] = {}
_ONE_AT_A_TIME = threading.Lock()


def encode_shard(task: ShardTask) -> list[JobOutcome]:
    """On a worker: encode a shard with an encoder of its own, which stays for the next shard."""
    from emofuse.extract.plan.request import build
    from emofuse.extract.run import runner

    with _ONE_AT_A_TIME:  # a worker with several threads has one device all the same
        # A worker that came after the others were looked at.
        other = [f"{name} {v or 'absent'}" for name, v in versions(PACKAGES).items() if v != task.versions[name]]
        if other:
            raise UsageError(f"a worker on {socket.gethostname()} has {', '.join(other)}: all must compute alike")
        jobs = []
        for job in task.jobs:
            if job.recipe not in _ENCODERS:
                _ENCODERS[job.recipe] = build(job.recipe)
            encoder, source = _ENCODERS[job.recipe]
            shown = source if job.view == views.MEAN else encoder
            jobs.append(replace(job, patience=PATIENCE, encoder=shown, source=source))
        return runner.run(as_begun(jobs), quiet=True)

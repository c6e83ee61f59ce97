"""The same work on many processes: the workers of a cluster encode shards, and the coordinator merges them.

Shards depend on the manifest and the budget alone, never on the number of workers. Each worker builds its own encoder
and writes its own shards, in a folder beside the store, with the same loop that a single process uses; the shard of a
worker that died goes to another one, which resumes it.
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

from emofuse.common.disk.files import resolve_link
from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.output.console import say
from emofuse.common.output.progress import Progress
from emofuse.common.system.dask_cluster import completed_results, package_versions
from emofuse.extract.audio.exclusions import excluded_line
from emofuse.extract.encoding.loop import Throughput, run_jobs
from emofuse.extract.parallel.cluster import PACKAGES
from emofuse.extract.plan.budget import with_recorded_budgets
from emofuse.extract.plan.compute_precision import with_precision_sample
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob, JobOutcome, frame_counts
from emofuse.extract.plan.passes import group_by_pass, plan_pass, split_jobs
from emofuse.extract.plan.store_state import is_recorded, missing_ids
from emofuse.extract.plan.view_encoders import ViewEncoders, build_encoders
from emofuse.manifests.schema import Excluded
from emofuse.store.edit.merge import merge_shards
from emofuse.store.edit.shard_completeness import SHARD_BUDGET_KEY, SHARD_KEY

if TYPE_CHECKING:
    from distributed import Client

SHARD_WORK = {"audio": 600_000.0, "text": 20_000.0}
"""Milliseconds of audio, or tokens, of a shard."""
MOST_SHARDS = 1024
_LONGEST_FOLDER_NAME = 120
WAIT_SECONDS = 3600.0
"""How long a shard waits for a worker that an interrupted call left at work on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """A shard as it is sent to a worker: jobs without their encoders, which the worker builds."""

    number: int
    jobs: tuple[FeatureJob, ...]
    versions: Mapping[str, str | None]
    """The coordinator's package versions."""
    seconds: float
    """Length of its utterances' audio, also if only texts are encoded."""

    @property
    def decoded_seconds(self) -> float:
        """Seconds of audio that are decoded."""
        return self.seconds if any(job.clips for job in self.jobs) else 0.0


def jobs_of_shard(jobs: Sequence[FeatureJob], number: int, count: int) -> list[FeatureJob]:
    """The share of process `number` of `count` independent processes, each of which writes a separate store.

    Args:
        jobs: With budgets.
        number: Counted from 1.
        count: How many processes there are.
    """
    missing = {job.feature: missing_ids(job) for job in jobs}
    path = shard_path(jobs[0].store, number, count)
    share = [
        replace(
            job,
            store=path,
            full_manifest=jobs[0].manifest,
            provenance={**job.provenance, SHARD_KEY: [number, count], SHARD_BUDGET_KEY: job.budget},
        )
        for job in split_jobs(with_precision_sample(jobs), count, missing)[number - 1]
    ]
    return with_recorded_budgets(share)


def shard_path(store: Path, number: int, count: int) -> Path:
    """`cache/iemocap.shard-03-of-16.h5` for the third of sixteen shards of `cache/iemocap.h5`."""
    return store.with_name(f"{store.stem}.shard-{number:0{len(str(count))}d}-of-{count}{store.suffix}")


def run_on_workers(client: Client, jobs: Sequence[FeatureJob], quiet: bool = False) -> list[JobOutcome]:
    """Encode what the store misses on the workers, and merge what they wrote.

    Args:
        client: Of a cluster that `inspect_workers` has accepted.
        jobs: As `run_jobs` takes them, of one store.
        quiet: Show no progress.

    Raises:
        UsageError: As a worker raised it, or another command is doing the same work.
        DataError: As a worker raised it, or workers die again and again; finished shards are kept.
    """
    started = time.monotonic()
    missing = {job.feature: missing_ids(job) for job in jobs}
    todo = [job for job in jobs if missing[job.feature] or not is_recorded(job)]
    excluded: dict[str, list[Excluded]] = {job.feature: [] for job in jobs}
    if todo:
        store, features = resolve_link(todo[0].store), [job.feature for job in todo]
        folder = _shards_folder(store, features)
        busy = f"another command works in {folder} ({{holder}}); wait for it or stop it"
        with lock(folder.with_name(f"{folder.name}.lock"), busy):
            tasks = _tasks(with_precision_sample(todo), missing, folder)
            _report_idle_workers(len(client.ncores()), len(tasks))  # type: ignore[no-untyped-call]
            for outcomes in _encode_shards(client, tasks, " and ".join(features), quiet):
                for outcome in outcomes:
                    excluded[outcome.feature] += outcome.excluded
            _merge_shards(todo[0], store, features, folder, tasks, excluded)
    seconds = time.monotonic() - started
    return [
        JobOutcome(
            feature=job.feature,
            encoded=len(missing[job.feature]) - len(excluded[job.feature]),
            stored=len(frame_counts(job)) - len(excluded[job.feature]),
            seconds=seconds,
            excluded=tuple(excluded[job.feature]),
        )
        for job in jobs
    ]


def _merge_shards(
    job: FeatureJob,
    store: Path,
    features: Sequence[str],
    folder: Path,
    tasks: Sequence[ShardTask],
    excluded: Mapping[str, list[Excluded]],
) -> None:
    items = [item for of_feature in excluded.values() for item in of_feature]
    # Shards that an interrupted call left from another plan fill what this call's shards do not have.
    planned = {task.jobs[0].store.name for task in tasks}
    paths = sorted(folder.glob("*.h5"), key=lambda path: (path.name not in planned, path.name))
    if paths or store.exists():
        merge_shards(store, job.stored_manifest.excluding(items), features, paths)
    shutil.rmtree(folder, ignore_errors=True)  # a network disk may keep what another machine has open


def _report_idle_workers(workers: int, shards: int) -> None:
    if shards < workers:
        minutes, tokens = SHARD_WORK["audio"] / 60_000, SHARD_WORK["text"]
        say(
            f"{shards} of {workers} workers have something to do: a shard is about {minutes:g} minutes of audio, or "
            f"{tokens:g} tokens"
        )


def _shards_folder(store: Path, features: Sequence[str]) -> Path:
    """Where the shards of these features are written; shards of other features are in other folders."""
    name = "+".join(features)
    if len(name) > _LONGEST_FOLDER_NAME:
        name = xxhash.xxh3_64_hexdigest(name.encode())
    return store.with_name(f"{store.name}.{name}.shards")


def _tasks(jobs: Sequence[FeatureJob], missing: Mapping[str, set[str]], folder: Path) -> list[ShardTask]:
    """Shards, the largest first. Jobs with the same batches share them: a worker decodes a clip once for all."""
    same_plan: dict[tuple[str, float | None], list[FeatureJob]] = {}
    for job in jobs:
        same_plan.setdefault((job.computing_encoder.modality, job.budget), []).append(job)
    folder.mkdir(parents=True, exist_ok=True)
    manifest_digest = jobs[0].manifest.digest()
    tasks: list[ShardTask] = []
    for (modality, budget), group in same_plan.items():
        count = shard_count(group)
        for number, share in enumerate(split_jobs(group, count, missing), 1):
            if share:
                path = folder.resolve() / f"{modality}-{budget:g}-{number:04d}-of-{count:04d}.h5"
                seconds = max(job.manifest.hours * 3600 for job in share)
                sent = tuple(_without_encoder(job, path, manifest_digest) for job in share)
                tasks.append(
                    ShardTask(number=len(tasks), jobs=sent, versions=package_versions(PACKAGES), seconds=seconds)
                )
    return sorted(tasks, key=lambda task: -task.seconds)


def shard_count(jobs: Sequence[FeatureJob]) -> int:
    """How many shards jobs with the same batches make, however many workers there are."""
    work = sum(plan_pass(group_by_pass(jobs)[0]).sizes.values())
    return max(1, min(MOST_SHARDS, round(work / SHARD_WORK[jobs[0].computing_encoder.modality])))


def _without_encoder(job: FeatureJob, store: Path, manifest_digest: str) -> FeatureJob:
    nothing: Any = None
    provenance = {**job.provenance, "manifest": manifest_digest}
    root = job.root.resolve()
    return replace(job, store=store, root=root, encoder=nothing, shared_encoder=nothing, provenance=provenance)


def _encode_shards(client: Client, tasks: Sequence[ShardTask], title: str, quiet: bool) -> Iterator[list[JobOutcome]]:
    """The outcomes of each shard, as shards are finished."""
    call = uuid.uuid4().hex
    futures = {client.submit(encode_shard, task, key=f"{title}-{task.number}-{call}"): task for task in tasks}
    throughput = Throughput()
    sizes = {task.number: sum(len(job.manifest) for job in task.jobs) for task in tasks}
    work = sum(task.seconds for task in tasks)
    with Progress(sum(sizes.values()), title, "utterances", work=work, quiet=quiet) as progress:
        task: ShardTask
        outcomes: list[JobOutcome]
        for task, outcomes in completed_results(client, futures, "give a smaller --budget"):
            progress.advance(sizes[task.number], throughput.add(task.decoded_seconds), work=task.seconds)
            for item in {item: None for outcome in outcomes for item in outcome.excluded}:
                progress.say(excluded_line(item))
            yield outcomes


_ENCODERS: dict[EncoderRecipe, ViewEncoders] = {}
_ONE_SHARD_AT_A_TIME = threading.Lock()


def encode_shard(task: ShardTask) -> list[JobOutcome]:
    """On a worker: encode a shard with the worker's own encoder, which is kept for the next shard."""
    with _ONE_SHARD_AT_A_TIME:  # a worker with several threads still has one device
        # A worker may have joined after the inspection.
        other = [
            f"{name} {v or 'absent'}" for name, v in package_versions(PACKAGES).items() if v != task.versions[name]
        ]
        if other:
            raise UsageError(
                f"a worker on {socket.gethostname()} has {', '.join(other)}: all must compute with the same versions"
            )
        jobs = []
        for job in task.jobs:
            if job.recipe not in _ENCODERS:
                _ENCODERS[job.recipe] = build_encoders(job.recipe)
            shown, computing = _ENCODERS[job.recipe].shown(job.view), _ENCODERS[job.recipe].computing(job.view)
            jobs.append(replace(job, wait_seconds=WAIT_SECONDS, encoder=shown, shared_encoder=computing))
        return run_jobs(with_recorded_budgets(jobs), quiet=True)

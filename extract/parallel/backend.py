"""Where jobs run: in this process (all of them, or one shard), or on the workers of a Dask cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emofuse.common.errors import UsageError
from emofuse.common.system.dask_cluster import connect_client, local_cluster
from emofuse.extract.encoding.loop import run_jobs
from emofuse.extract.parallel import shards
from emofuse.extract.parallel.cluster import gpu_count, inspect_workers
from emofuse.extract.plan.budget import with_budgets
from emofuse.extract.plan.config import ExtractConfig
from emofuse.extract.plan.device import device_of
from emofuse.extract.plan.job import FeatureJob, JobOutcome

if TYPE_CHECKING:
    from distributed import Client


class ExecutionBackend:
    """The processes of one call of `extract`."""

    def __init__(self, config: ExtractConfig) -> None:
        self._config = config
        self._client: Client | None = None

    @property
    def uses_workers(self) -> bool:
        """Whether other processes than this one encode."""
        return self._config.scheduler is not None or (self._config.workers or 1) > 1

    def local_device(self) -> str:
        """The device on which this process computes.

        Raises:
            UsageError: Unknown device, or not available here.
        """
        requested = self._config.device
        if self.uses_workers and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", requested):
            raise UsageError(f"no device {requested!r}; valid: auto, cpu, cuda")
        return "cpu" if self.uses_workers and not self._config.transcribe else device_of(requested)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Find or start the workers, before any work; a dry run needs none.

        Raises:
            UsageError: Dask is not installed, or no scheduler or worker answers.
        """
        config = self._config
        if not self.uses_workers or config.dry_run:
            yield
            return
        with ExitStack() as stack:
            address = config.scheduler
            if address is None:
                gpus = gpu_count() if config.device != "cpu" else 0
                address = stack.enter_context(local_cluster(config.workers or 1, gpus))
            self._client = stack.enter_context(connect_client(address, config.workers))
            yield

    def on_workers_device(self, jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
        """The jobs on the workers' device, after an inspection of each worker; without workers, as they are.

        Raises:
            UsageError: As `inspect_workers`.
        """
        if self._client is None:
            return list(jobs)
        device = inspect_workers(self._client, jobs, self._config.device)
        return [_on_device(job, device) for job in jobs]

    def with_budgets(self, jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
        """The jobs with batch budgets; for a shard, only jobs with work in it.

        Args:
            jobs: Scanned.
        """
        shard = self._config.shard_number
        jobs = with_budgets(jobs, self._config.budget, shared=self.uses_workers or shard is not None)
        return shards.jobs_of_shard(jobs, *shard) if shard else jobs

    def run(self, jobs: Sequence[FeatureJob]) -> list[JobOutcome]:
        """Encode.

        Raises:
            UsageError, DataError: As `run_jobs` and `run_on_workers`.
        """
        if self._client is not None:
            return shards.run_on_workers(self._client, jobs, self._config.quiet)
        return run_jobs(jobs, self._config.quiet)


def _on_device(job: FeatureJob, device: str) -> FeatureJob:
    weights = job.recipe.options.weights
    if weights and Path(weights).exists():  # a worker has another working directory
        weights = str(Path(weights).resolve())
    recipe = replace(job.recipe, options=replace(job.recipe.options, device=device, weights=weights))
    return replace(job, device=device, recipe=recipe)

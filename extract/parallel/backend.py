"""How many processes do the work: this one alone, a share of it, or the workers of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.extract.plan.device import device_of
from emofuse.extract.plan.job import FeatureJob, JobOutcome

if TYPE_CHECKING:
    from distributed import Client


@dataclass(slots=True, kw_only=True)
class ExecutionBackend:
    """Who encodes."""

    device: str
    """As the user asked for it."""
    shard: str | None
    """The number of this process, from 1, and of how many: 3/16."""
    workers: int | None
    """Processes to start on this machine."""
    scheduler: str | None
    """Address of a Dask scheduler."""
    client: Client | None = None
    """Of the cluster, once it is ready."""

    @property
    def elsewhere(self) -> bool:
        """Whether other processes than this one encode."""
        return self.scheduler is not None or (self.workers or 1) > 1

    @property
    def share(self) -> tuple[int, int] | None:
        """The number and the count of the shard.

        Raises:
            UsageError: It is none.
        """
        if self.shard is None:
            return None
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", self.shard.strip())
        number, of = (int(n) for n in found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            count = of or 16
            raise UsageError(
                f"--shard is {self.shard!r}, expected a number, from 1 on, and a count: 1/{count} to {count}/{count}"
            )
        return number, of

    def check(self, transcribe: str | None, problems: Problems) -> None:
        """Note every wrong word, and what does not go together."""
        with problems.noting():
            _ = self.share
        given = [("--shard", self.shard), ("--workers", self.workers), ("--scheduler", self.scheduler)]
        asked = [name for name, value in given if value is not None]
        if len(asked) > 1:
            problems.note(f"{' and '.join(asked)} exclude each other: pass one")
        if self.shard and transcribe:
            problems.note("--transcribe with --shard would recognise everything in every shard: transcribe first")

    def device_here(self, transcribe: str | None) -> str:
        """Where this process computes.

        Raises:
            UsageError: There is no such device here, or no machine has one of that name.
        """
        if self.elsewhere and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"no device {self.device!r}; valid: auto, cpu, cuda")
        return "cpu" if self.elsewhere and not transcribe else device_of(self.device)

    @contextmanager
    def ready(self, dry_run: bool) -> Iterator[None]:
        """Find or start the other processes, before any work, where there will be any.

        Raises:
            UsageError: Dask is not installed, or no scheduler or worker answers.
        """
        if not self.elsewhere or dry_run:
            yield
            return
        from emofuse.common.system.cluster import connected, local
        from emofuse.extract.parallel.cluster import gpus

        with ExitStack() as stack:
            address = self.scheduler
            if address is None:
                address = stack.enter_context(local(self.workers or 1, gpus() if self.device != "cpu" else 0))
            self.client = stack.enter_context(connected(address, self.workers))
            yield

    def settle(self, jobs: Sequence[FeatureJob], budget: float | None) -> list[FeatureJob]:
        """The jobs as they will be done: on the device of whoever does them, with a budget, the share of this process.

        Args:
            jobs: Surveyed.
            budget: Seconds of audio, or tokens, of a batch, where the user has said it.
        """
        from emofuse.extract.parallel.shards import share_of_work
        from emofuse.extract.plan.budget import settle

        settled = settle(jobs, budget, shared=self.elsewhere or self.shard is not None)
        return share_of_work(settled, *self.share) if self.share else settled

    def inspected(self, jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
        """The jobs on the workers' device, after a look at each worker.

        Raises:
            UsageError: As `cluster.inspect`.
        """
        if self.client is None:
            return list(jobs)
        from emofuse.extract.parallel.cluster import inspect

        device = inspect(self.client, jobs, self.device)
        return [_on(job, device) for job in jobs]

    def run(self, jobs: Sequence[FeatureJob], quiet: bool) -> list[JobOutcome]:
        """Encode.

        Raises:
            UsageError, DataError: As `runner.run` and `shards.run` do.
        """
        from emofuse.extract.parallel import shards
        from emofuse.extract.run import runner

        if self.client is not None:
            return shards.run(self.client, jobs, quiet)
        return runner.run(jobs, quiet)


def _on(job: FeatureJob, device: str) -> FeatureJob:
    weights = job.recipe.options.weights
    if weights and Path(weights).exists():  # a worker stands in another folder
        weights = str(Path(weights).resolve())
    recipe = replace(job.recipe, options=replace(job.recipe.options, device=device, weights=weights))
    return replace(job, device=device, recipe=recipe)

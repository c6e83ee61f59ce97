"""The batch budget: decided from free memory once, recorded with the feature, and the same ever after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.common.output.console import warn
from emofuse.common.system.machine import free_memory
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.plan.device import device_kind
from emofuse.extract.plan.job import FeatureJob
from emofuse.extract.plan.passes import group_by_pass
from emofuse.extract.plan.store_state import missing_ids, recorded_provenance

DEFAULT_BUDGETS = {"cpu": {"audio": 20.0, "text": 4096.0}, "cuda": {"audio": 600.0, "text": 65536.0}}
"""Seconds of audio, or tokens, of a batch. More makes a CPU slower (benchmarks/NOTES.md); on a GPU, memory decides,
starting from here."""
SMALLEST_BUDGETS = {"audio": 1.0, "text": 16.0}
_LARGEST_DOUBLINGS = 2
_MEMORY_SHARE = 0.7
"""The share of free memory that a batch may take: the rest is for temporary arrays and other programs."""
_HOST_BYTES = {"audio": 40e6, "text": 1e6}
"""Memory of a second of audio, or a token, on a CPU: HuBERT's first convolution has 512 channels at 3200 Hz, and up to
six arrays of that shape exist at once."""
_PROBE_SECONDS, _PROBE_WORDS = 10, 128


def with_budgets(
    jobs: Sequence[FeatureJob], requested: float | None = None, *, shared: bool = False
) -> list[FeatureJob]:
    """The jobs with their budgets: the `requested` one, the one a feature was started with, or one that fits in memory.

    Jobs that share a pass get one budget.

    Args:
        jobs: Scanned.
        requested: The user's own: seconds of audio, or tokens, of a batch.
        shared: Whether other processes plan the same batches: the free memory of this one must not matter then.
    """
    budgets: dict[str, float] = {}
    for group in group_by_pass(jobs):
        recorded = {job.feature: budget for job in group if (budget := _recorded_budget(job)) is not None}
        if requested is not None:
            _note_changes([job for job in group if _changes_budget(job, recorded, requested)], recorded, requested)
            recorded, default = {}, requested
        else:
            # New features join the pass of one that was started; those started with different budgets keep their own.
            default = next(iter(recorded.values()), None) or _default_budget(group[0], shared=shared)
        budgets |= {job.feature: recorded.get(job.feature, default) for job in group}
    return [replace(job, budget=budgets[job.feature]) for job in jobs]


def with_recorded_budgets(jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
    """The jobs of one shard, with the smaller budget of an interrupted run where memory did not suffice for theirs."""
    budgets: dict[str, float] = {}
    for group in group_by_pass(jobs):
        known = [budget for job in group for budget in (job.budget, _recorded_budget(job)) if budget is not None]
        budgets |= {job.feature: min(known) for job in group}
    return [replace(job, budget=budgets[job.feature]) for job in jobs]


def _changes_budget(job: FeatureJob, recorded: Mapping[str, float], requested: float) -> bool:
    return recorded.get(job.feature, requested) != requested and bool(missing_ids(job))


def _note_changes(jobs: Sequence[FeatureJob], recorded: Mapping[str, float], requested: float) -> None:
    for job in jobs:
        warn(
            f"{job.feature} was started with batches of {recorded[job.feature]:g}; its missing utterances are encoded "
            f"in batches of {requested:g}, as requested: values differ by rounding"
        )


def _default_budget(job: FeatureJob, *, shared: bool) -> float:
    encoder, kind = job.computing_encoder, device_kind(job.device)
    default = DEFAULT_BUDGETS[kind][encoder.modality]
    if shared:
        return default
    if kind == "cuda":
        return _gpu_budget(encoder, job.device, default)
    fitting = _MEMORY_SHARE * free_memory() / _HOST_BYTES[encoder.modality]
    return _halved_to_fit(default, fitting, SMALLEST_BUDGETS[encoder.modality])


def halved_budget(jobs: Sequence[FeatureJob]) -> float:
    """Half the budget of jobs whose batch did not fit in memory.

    Raises:
        UsageError: Half of it would be less than the smallest useful batch.
    """
    first = jobs[0]
    assert first.budget is not None
    half = first.budget / 2
    if half < SMALLEST_BUDGETS[first.computing_encoder.modality]:
        raise UsageError(
            f"{first.device} has not enough memory for {first.recipe.encoder}: free some, or choose another --device"
        )
    return half


def _recorded_budget(job: FeatureJob) -> float | None:
    value = recorded_provenance(job, "batch_budget")
    # The file may come from another program.
    usable = isinstance(value, int | float) and math.isfinite(value) and value >= SMALLEST_BUDGETS[job.encoder.modality]
    return float(value) if usable else None


def _halved_to_fit(budget: float, fitting: float, smallest: float) -> float:
    """`budget`, halved until it is at most `fitting`: with such large steps, a machine mostly gets the same budget."""
    while budget > fitting and budget / 2 >= smallest:
        budget /= 2
    return budget


def _gpu_budget(encoder: Encoder, device: str, default: float) -> float:
    """A budget that fits on a GPU, from the memory that a small batch takes there."""
    import torch

    probe: list[np.ndarray[tuple[int], np.dtype[np.float32]]] | list[str]
    if encoder.modality == "audio":
        assert encoder.sample_rate is not None
        noise = np.random.default_rng(0).standard_normal(_PROBE_SECONDS * encoder.sample_rate, np.float32)
        probe, amount = [noise * np.float32(0.1)] * 2, 2.0 * _PROBE_SECONDS
    else:
        text = " ".join(["word"] * _PROBE_WORDS)
        probe, amount = [text] * 2, 2.0 * encoder.length(text)
    try:
        encoder.encode(probe)  # the first batch also allocates what stays
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        encoder.encode(probe)
        bytes_each = (torch.cuda.max_memory_allocated(device) - before) / amount
        free = torch.cuda.mem_get_info(device)[0]
    except torch.OutOfMemoryError:
        return SMALLEST_BUDGETS[encoder.modality]
    largest = default * 2**_LARGEST_DOUBLINGS
    return _halved_to_fit(largest, _MEMORY_SHARE * free / max(bytes_each, 1.0), SMALLEST_BUDGETS[encoder.modality])

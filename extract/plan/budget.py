"""How much goes into one batch: found from free memory once, recorded with the feature, and the same ever after."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.common.system.machine import free_bytes
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.plan.job import FeatureJob, begun_with, lacking
from emofuse.extract.plan.passes import by_source

USUAL = {"cpu": {"audio": 20.0, "text": 4096.0}, "cuda": {"audio": 600.0, "text": 65536.0}}
"""Seconds of audio, or tokens, of a batch. More makes a CPU slower (benchmarks/NOTES.md); on a GPU memory decides, from
here."""
LEAST = {"audio": 1.0, "text": 16.0}
_LARGEST_DOUBLINGS = 2
_SHARE = 0.7
"""Of the free memory, what a batch may take: the rest is for what comes and goes, and for other programs."""
_HOST_BYTES = {"audio": 40e6, "text": 1e6}
"""What a second of audio, or a token, takes on a CPU: the first convolution of a HuBERT is 512 wide at 3200 Hz, and up
to six such arrays live at once."""
_PROBE_SECONDS, _PROBE_WORDS = 10, 128


def device_kind(device: str) -> str:
    """`cpu` or `cuda`."""
    return "cuda" if device.startswith("cuda") else "cpu"


def settle(jobs: Sequence[FeatureJob], asked: float | None = None, *, shared: bool = False) -> list[FeatureJob]:
    """The jobs, those of one pass with one budget: `asked`, what their features were begun with, or what fits.

    Args:
        asked: Seconds of audio, or tokens, of a batch: the user's own.
        shared: Whether other processes plan the same batches: what this one finds free must not matter then.
    """
    found: dict[str, float] = {}
    for same in by_source(jobs):
        begun = {job.feature: recorded for job in same if (recorded := _recorded(job)) is not None}
        if asked is not None:
            _say_what_changes({job.feature: begun[job.feature] for job in same if _goes_on(job, begun, asked)}, asked)
            begun, usual = {}, asked
        else:
            # What is new goes with what was begun, in one pass; what was begun differently keeps a pass of its own.
            usual = next(iter(begun.values()), None) or _usual(same[0], shared=shared)
        found |= {job.feature: begun.get(job.feature, usual) for job in same}
    return [replace(job, budget=found[job.feature]) for job in jobs]


def as_begun(jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
    """The jobs of one shard, with no more than their unfinished parts came down to where memory did not suffice."""
    found: dict[str, float] = {}
    for same in by_source(jobs):
        known = [b for job in same for b in (job.budget, _recorded(job)) if b is not None]
        found |= {job.feature: min(known) for job in same}
    return [replace(job, budget=found[job.feature]) for job in jobs]


def _goes_on(job: FeatureJob, begun: Mapping[str, float], asked: float) -> bool:
    return begun.get(job.feature, asked) != asked and bool(lacking(job))


def _say_what_changes(begun: Mapping[str, float], asked: float) -> None:
    for feature, budget in begun.items():
        said = f"{feature} was begun with batches of {budget:g}; what it lacks is encoded in batches of {asked:g}"
        print(f"{said}, as asked: values differ by rounding", file=sys.stderr, flush=True)


def _usual(first: FeatureJob, *, shared: bool) -> float:
    modality, device = first.computes.modality, first.device
    usual = USUAL[device_kind(device)][modality]
    if shared:
        return usual
    if device_kind(device) == "cuda":
        return _fitting_gpu(first.computes, device, usual)
    return _halved_to(usual, _SHARE * free_bytes() / _HOST_BYTES[modality], LEAST[modality])


def halved(jobs: Sequence[FeatureJob]) -> float:
    """The budget after what it asked for did not fit.

    Raises:
        UsageError: There is hardly any memory.
    """
    first = jobs[0]
    assert first.budget is not None
    half = first.budget / 2
    if half < LEAST[first.computes.modality]:
        raise UsageError(
            f"{first.device} has no memory for {first.recipe.encoder}: free some, or take another --device"
        )
    return half


def _recorded(job: FeatureJob) -> float | None:
    found = begun_with(job, "batch_budget")
    # Somebody else may have written the file.
    sound = isinstance(found, int | float) and math.isfinite(found) and found >= LEAST[job.encoder.modality]
    return float(found) if sound else None


def _halved_to(usual: float, fitting: float, least: float) -> float:
    """`usual`, halved until it fits: in such steps the same machine comes to the same budget on most days."""
    while usual > fitting and usual / 2 >= least:
        usual /= 2
    return usual


def _fitting_gpu(encoder: Encoder, device: str, usual: float) -> float:
    """What fits on a GPU, from what a small batch takes there."""
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
        encoder.encode(probe)  # what is allocated once and for all
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        encoder.encode(probe)
        each = (torch.cuda.max_memory_allocated(device) - before) / amount
        free = torch.cuda.mem_get_info(device)[0]
    except torch.OutOfMemoryError:
        return LEAST[encoder.modality]
    largest = usual * 2**_LARGEST_DOUBLINGS
    return _halved_to(largest, _SHARE * free / max(each, 1.0), LEAST[encoder.modality])

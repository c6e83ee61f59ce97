"""The difference of a reduced precision to fp32: measured on some utterances, and recorded with the feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emofuse.common.output.console import format_size, warn
from emofuse.common.system.machine import free_memory
from emofuse.extract.audio.clips import AudioError, load
from emofuse.extract.encoders.blocks.pooled_text import PooledText
from emofuse.extract.encoders.blocks.transformer_encoder import HubTransformer
from emofuse.extract.plan.device import device_kind
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob
from emofuse.extract.plan.passes import group_by_pass
from emofuse.extract.plan.store_state import recorded_provenance
from emofuse.extract.plan.view_encoders import build_encoders
from emofuse.extract.plan.views import POOLED
from emofuse.manifests.schema import Manifest

DIFFERENCE = "precision_difference"
"""Its key in a feature's provenance."""
SAMPLE_SIZE, LONGEST_SECONDS = 16, 20.0
_MEASURED: dict[tuple[EncoderRecipe, bool, str], dict[str, Any]] = {}


def with_precision_difference(jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
    """The jobs; those with a reduced precision record the difference of their frames to those of fp32.

    Measured as max|difference| / max|value| of an utterance: the largest and the mean over up to 16 utterances, spread
    evenly. A feature that was started keeps what was measured then.
    """
    measured: dict[str, FeatureJob] = {}
    for group in group_by_pass(jobs):
        if group[0].recipe.options.precision != "fp32":
            recorded = (recorded_provenance(job, DIFFERENCE) for job in group)
            difference = next((d for d in recorded if isinstance(d, dict)), None) or _difference(group[0])
            group = [replace(job, provenance={**job.provenance, DIFFERENCE: difference}) for job in group]
        measured |= {job.feature: job for job in group}
    return [measured[job.feature] for job in jobs]


def with_precision_sample(jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
    """The jobs with the utterances on which a reduced precision is measured: the same ones for every share of them."""
    return [
        replace(job, precision_sample=_sample(job)) if job.recipe.options.precision != "fp32" else job for job in jobs
    ]


def _difference(job: FeatureJob) -> dict[str, Any]:
    key = job.recipe, job.view == POOLED, (job.precision_sample or _sample(job)).digest()
    if key not in _MEASURED:
        _MEASURED[key] = _measure(job)
    return _MEASURED[key]


def _measure(job: FeatureJob) -> dict[str, Any]:
    options = job.recipe.options
    if size := _fp32_bytes_that_do_not_fit(job):
        reason = f"the weights in fp32 need {format_size(size)}, which {job.device} does not have free"
        warn(f"{job.feature}: how {options.precision} differs from fp32 is not measured: {reason}")
        return {"against": "fp32", "not_measured": reason}
    exact = build_encoders(replace(job.recipe, options=replace(options, precision="fp32"))).computing(job.view)
    differences = []
    for item in _sample_inputs(job):
        reduced_values, exact_values = (
            job.own_layers(encoder.encode([item])[0]) for encoder in (job.computing_encoder, exact)
        )
        largest = max(float(np.abs(exact_values).max()), 1e-12)
        differences.append(float(np.abs(reduced_values - exact_values).max() / largest))
    difference = {
        "against": "fp32",
        "utterances": len(differences),
        "largest": max(differences, default=0.0),
        "mean": float(np.mean(differences)) if differences else 0.0,
    }
    warn(
        f"{job.feature}: {options.precision} differs from fp32 by at most {difference['largest']:.1e} "
        f"(max|difference| / max|value| in {len(differences)} utterances)"
    )
    return difference


def _fp32_bytes_that_do_not_fit(job: FeatureJob) -> int:
    """Size of a transformer's weights in fp32 where the device has no room for them beside the present ones; else 0."""
    import torch

    encoder = job.computing_encoder
    if not isinstance(encoder, HubTransformer | PooledText):
        return 0
    size = 4 * sum(p.numel() for p in encoder.pretrained.model.parameters())
    on_gpu = device_kind(job.device) == "cuda"
    return size if size > (torch.cuda.mem_get_info(job.device)[0] if on_gpu else free_memory()) else 0


def _sample(job: FeatureJob) -> Manifest:
    if job.computing_encoder.modality == "text":
        usable = [u for u in job.manifest.utterances if u.text is not None]
    else:
        with_audio = [u for u in job.manifest.utterances if u.id in job.clips]
        usable = [u for u in with_audio if (u.seconds or 0.0) <= LONGEST_SECONDS] or with_audio[:1]
    return replace(job.manifest, utterances=tuple(usable)).sample(SAMPLE_SIZE)


def _sample_inputs(job: FeatureJob) -> list[Any]:
    """The waveforms [samples] or texts of the sample."""
    encoder, sample = job.computing_encoder, job.precision_sample or _sample(job)
    if encoder.modality == "text":
        return [u.text for u in sample.utterances]
    assert encoder.sample_rate is not None
    waveforms = []
    for u in sample.utterances:
        assert u.audio is not None
        try:
            waveforms.append(load(job.root / u.audio, encoder.sample_rate, u.start, u.end, job.channel))
        except AudioError:
            continue  # the pass itself reports it
    return waveforms

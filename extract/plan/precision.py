"""What a reduced precision changes: measured on some utterances against fp32, and kept beside the feature."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emofuse.extract.corpus.audio import AudioError, load
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.plan import views
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob, begun_with
from emofuse.extract.plan.passes import by_source
from emofuse.manifests.schema import Manifest

DIFFERENCE = "precision_difference"
"""What it is called in a feature's provenance."""
SAMPLED, LONGEST_SECONDS = 16, 20.0
_MEASURED: dict[tuple[EncoderRecipe, str], dict[str, Any]] = {}


def with_difference(jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
    """The jobs; those that compute in less than fp32 say how far their frames lie from those of fp32.

    As max|difference| / max|value| of an utterance: the largest and the mean over up to 16 utterances, spread evenly. A
    feature that was begun keeps what was measured then.
    """
    found = []
    for same in by_source(jobs):
        if same[0].recipe.options.precision != "fp32":
            held = (begun_with(job, DIFFERENCE) for job in same)
            measured = next((h for h in held if isinstance(h, dict)), None) or _measure(same[0])
            same = [replace(job, provenance={**job.provenance, DIFFERENCE: measured}) for job in same]
        found += same
    order = {job.feature: job for job in found}
    return [order[job.feature] for job in jobs]


def _measure(job: FeatureJob) -> dict[str, Any]:
    which = job.recipe, (job.sampled or _some(job)).digest()
    if which not in _MEASURED:
        _MEASURED[which] = _measured(job)
    return _MEASURED[which]


def _measured(job: FeatureJob) -> dict[str, Any]:
    reduced, options = job.computes, job.recipe.options
    exact = ENCODERS[job.recipe.encoder].build(replace(options, precision="fp32"))
    if job.recipe.every_layer:
        exact = views.with_every_layer(exact)
    differences = []
    for item in _sample(job):
        given = [(encoder, encoder.encode([item])[0]) for encoder in (reduced, exact)]
        ours, theirs = (views.layers_of(values, encoder, job.encoder) for encoder, values in given)
        differences.append(float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-12)))
    measured = {
        "against": "fp32",
        "utterances": len(differences),
        "largest": max(differences, default=0.0),
        "mean": float(np.mean(differences)) if differences else 0.0,
    }
    said = f"{job.feature}: {options.precision} lies within {measured['largest']:.1e} of fp32"
    of = f"max|difference| / max|value| in {len(differences)} utterances"
    print(f"{said} ({of})", file=sys.stderr, flush=True)
    return measured


def sampled(jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
    """The jobs, knowing what a reduced precision is measured on: the same for whoever encodes a share of them."""
    return [replace(j, sampled=_some(j)) if j.recipe.options.precision != "fp32" else j for j in jobs]


def _some(job: FeatureJob) -> Manifest:
    if job.computes.modality == "text":
        usable = [u for u in job.manifest.utterances if u.text is not None]
    else:
        heard = [u for u in job.manifest.utterances if u.id in job.clips]
        usable = [u for u in heard if (u.seconds or 0.0) <= LONGEST_SECONDS] or heard[:1]
    return replace(job.manifest, utterances=tuple(usable)).sample(SAMPLED)


def _sample(job: FeatureJob) -> list[Any]:
    """Waveforms or texts of some utterances."""
    encoder, of = job.computes, job.sampled or _some(job)
    if encoder.modality == "text":
        return [u.text for u in of.utterances]
    assert encoder.sample_rate is not None
    waveforms = []
    for u in of.utterances:
        assert u.audio is not None
        try:
            waveforms.append(load(job.root / u.audio, encoder.sample_rate, u.start, u.end))
        except AudioError:
            continue  # the pass itself lists it
    return waveforms

"""A job of `extract`: one feature of one store, and the encoder that computes it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.console import plural
from emofuse.common.output.progress import format_duration
from emofuse.extract.audio.augmentation import Augmentation
from emofuse.extract.audio.channels import Channel
from emofuse.extract.audio.clips import Clip, audio_policy
from emofuse.extract.audio.resampling import resampled_length
from emofuse.extract.encoders.base import Encoder, EncoderOptions
from emofuse.extract.plan.views import FRAMES, apply_view, view_dimension, view_identity
from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureSpec
from emofuse.store.core.partial import partial_path
from emofuse.store.core.spec import COPY_MARK

EXTRACTOR_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRecipe:
    """How a job's encoder is built; another process builds the same one from it."""

    encoder: str
    """Its name in the registry."""
    options: EncoderOptions
    views: tuple[str, ...] = (FRAMES,)
    """The views that are stored of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureJob:
    """One feature of one store."""

    store: Path
    manifest: Manifest
    """The utterances to encode. Scanned: lengths and digests known, unusable items excluded."""
    full_manifest: Manifest | None = None
    """The whole corpus, where other processes encode the rest of it: the store records all of it."""
    root: Path
    """The folder that audio paths are relative to."""
    clips: Mapping[str, Clip]
    """Utterance id -> its clip."""
    encoder: Encoder
    """Whose frames, or a view of whose frames, are stored."""
    shared_encoder: Encoder | None = None
    """The encoder that computes, where it gives more layers than `encoder`; jobs with the same one share its pass."""
    recipe: EncoderRecipe
    feature: str
    view: str = FRAMES
    dtype: str
    """On disk: float16, float32 or bfloat16."""
    device: str
    provenance: Mapping[str, Any]
    """Entries of the feature's provenance beyond the encoder's own."""
    channel: Channel = "mean"
    """What is encoded of several channels."""
    augmentation: Augmentation | None = None
    """How the clips are changed before they are encoded, for an augmented copy of a feature."""
    no_text: bool = False
    """Store a digest of each text instead of the text."""
    recogniser: str | None = None
    """What recognised the texts that the corpus itself does not have."""
    wait_seconds: float = 0.0
    """How long to wait for another process that writes the same partial store."""
    precision_sample: Manifest | None = None
    """The utterances on which a reduced precision is measured, where this process encodes a share of the corpus; None
    takes them from `manifest`."""
    budget: float | None = None
    """Seconds of audio, or tokens, of a batch; None until it is decided."""

    @property
    def stored_manifest(self) -> Manifest:
        """The manifest that the store should record."""
        manifest = self.full_manifest or self.manifest
        return manifest.without_text() if self.no_text else manifest

    @property
    def computing_encoder(self) -> Encoder:
        """The encoder that runs."""
        return self.shared_encoder or self.encoder

    @property
    def partial_store(self) -> Path:
        """The file in which the feature is stored until it is complete."""
        return partial_path(self.store, self.feature)

    def own_layers(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The layers of `encoder`, [T, D] or [T, L, D], of an utterance's `values` from `computing_encoder`."""
        return values if self.computing_encoder is self.encoder else self.encoder.select_layers(values)

    def stored_values(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """What is stored of an utterance, from `values` [T, D] or [T, L, D] of `computing_encoder`."""
        values = self.own_layers(values)
        return _as_dtype(apply_view(values, self.view), self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """The result of a job."""

    feature: str
    encoded: int
    """Utterances encoded in this run."""
    stored: int
    """Utterances that the feature has now."""
    seconds: float
    excluded: tuple[Excluded, ...]
    """Utterances that could not be encoded, with reasons."""

    def line(self, store: Path) -> str:
        """The result in one line, for the user."""
        if not self.encoded and not self.excluded:
            return (
                f"{self.feature}: {self.stored} utterances are already in {store}, made with the same settings; "
                "nothing to do"
            )
        duration = format_duration(self.seconds)
        return f"{self.feature}: {plural(self.encoded, 'utterance')} encoded in {duration}, {self.stored} in {store}"


def feature_spec(job: FeatureJob) -> FeatureSpec:
    """The feature that a job writes, with its fingerprint and provenance."""
    return FeatureSpec(
        name=job.feature,
        modality=job.encoder.modality,
        encoder=job.recipe.encoder,
        dimension=view_dimension(job.encoder.dimension, job.view),
        layers=job.encoder.layers,
        view=job.view,
        frame_rate=job.encoder.frame_rate if job.view == FRAMES else None,
        dtype=job.dtype,
        fingerprint={
            **job.encoder.identity(),
            **_input_policy(job),
            **view_identity(job.view),
            **({COPY_MARK: job.augmentation.identity()} if job.augmentation else {}),
            "extractor": EXTRACTOR_VERSION,
        },
        provenance=_provenance(job),
    )


def _input_policy(job: FeatureJob) -> dict[str, Any]:
    """How files become the encoder's input, for the fingerprint."""
    if job.encoder.modality == "audio":
        return {"audio": audio_policy(job.channel)}
    if job.recogniser:
        return {"text_kind": "transcript, or asr where there is none", "recogniser": job.recogniser}
    return {"text_kind": "transcript"}


def _provenance(job: FeatureJob) -> dict[str, Any]:
    import torch

    return {
        **job.encoder.provenance(),
        "emofuse": version("emofuse"),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
        "device": job.device,
        **({"device_name": torch.cuda.get_device_name(job.device)} if job.device.startswith("cuda") else {}),
        **({"threads": torch.get_num_threads()} if job.device == "cpu" else {}),
        "manifest": (job.full_manifest or job.manifest).digest(),
        **({"batch_budget": job.budget} if job.budget is not None else {}),
        **job.provenance,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def frame_counts(job: FeatureJob) -> dict[str, int]:
    """Utterance id -> T, the frames that the encoder will give, from lengths or texts alone."""
    encoder = job.encoder
    if encoder.modality == "text":
        return {u.id: encoder.length(u.text) for u in job.manifest.utterances if u.text is not None}
    assert encoder.sample_rate is not None
    rate = encoder.sample_rate
    samples = {id: resampled_length(clip.samples, clip.sample_rate, rate) for id, clip in job.clips.items()}
    if job.augmentation:
        samples = {id: job.augmentation.length(id, count) for id, count in samples.items()}
    return {u.id: encoder.length(samples[u.id]) for u in job.manifest.utterances if u.id in samples}


def stored_lengths(job: FeatureJob, frames: Mapping[str, int]) -> Mapping[str, int]:
    """Utterance id -> frames of the feature: the encoder's `frames`, or one for a mean or statistics."""
    return frames if job.view == FRAMES else dict.fromkeys(frames, 1)


def _as_dtype(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """`values` as float16 if `dtype` says so; torch's cast takes a thirtieth of the time of numpy's."""
    import torch

    if dtype != "float16":
        return values
    half = torch.from_numpy(values).half()
    # Values too large for float16 stay float32: the store's error names the largest.
    return values if torch.isinf(half).any() else half.numpy()

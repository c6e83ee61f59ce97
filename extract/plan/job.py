"""What `extract` has to do: one feature of one store, and the encoder that makes it."""

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

from emofuse.common.disk.files import refuse_unwritable
from emofuse.common.errors import UsageError
from emofuse.common.progress import clock
from emofuse.extract.corpus.audio import POLICY, Clip, resampled_length
from emofuse.extract.encoders.base import Encoder, EncoderOptions
from emofuse.extract.plan import views
from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureSpec, FeatureStore
from emofuse.store.core.partial import partial_path
from emofuse.store.core.spec import source_digest
from emofuse.store.core.writer import refuse_unfit

EXTRACTOR_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRecipe:
    """How the encoder of a job is built: another process builds the same one of it."""

    encoder: str
    """Its name in the registry."""
    options: EncoderOptions
    every_layer: bool = False
    """Whether the one that computes gives all layers, whatever `options` ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureJob:
    """One feature of one store."""

    store: Path
    manifest: Manifest
    """What is to be encoded. Surveyed: lengths and digests known, unusable items excluded."""
    whole: Manifest | None = None
    """The corpus, where other processes encode the rest of it, and this one's store knows all of it."""
    root: Path
    clips: Mapping[str, Clip]
    encoder: Encoder
    """Whose frames, or a view of whose frames, are stored."""
    source: Encoder | None = None
    """The encoder that computes, where it gives more layers than `encoder`; jobs of one source share its pass."""
    recipe: EncoderRecipe
    feature: str
    view: str = views.FRAMES
    dtype: str
    device: str
    provenance: Mapping[str, Any]
    no_text: bool = False
    """Leave the texts out of the store."""
    recogniser: str | None = None
    """What wrote the texts that the corpus itself does not have."""
    patience: float = 0.0
    """Seconds to wait for another process that writes the same part."""
    sampled: Manifest | None = None
    """What a reduced precision is measured on, where this process encodes a share of the corpus; none: as it finds."""
    budget: float | None = None
    """Seconds of audio, or tokens, of a batch; none: not settled yet."""

    @property
    def stored_manifest(self) -> Manifest:
        """What the store should know."""
        known = self.whole or self.manifest
        return known.without_text() if self.no_text else known

    @property
    def computes(self) -> Encoder:
        """The encoder that runs."""
        return self.source or self.encoder

    @property
    def part(self) -> Path:
        """The file that the feature grows in."""
        return partial_path(self.store, self.feature)

    def of(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """What is stored of an utterance, of `values` [T, D] or [T, L, D] that `computes` gave."""
        return narrowed(views.of(views.layers_of(values, self.computes, self.encoder), self.view), self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What a job did."""

    feature: str
    written: int
    """Utterances encoded in this run."""
    held: int
    """Utterances that the feature holds now."""
    seconds: float
    failed: tuple[Excluded, ...]


def feature_spec(job: FeatureJob) -> FeatureSpec:
    """The feature that a job makes, with its fingerprint and provenance."""
    import torch

    policy: dict[str, Any] = {"audio": dict(POLICY)} if job.encoder.modality == "audio" else {"text_kind": "transcript"}
    if job.recogniser and job.encoder.modality == "text":
        policy = {"text_kind": "transcript, or asr where there is none", "recogniser": job.recogniser}
    return FeatureSpec(
        name=job.feature,
        modality=job.encoder.modality,
        encoder=job.recipe.encoder,
        dimension=views.dimension(job.encoder.dimension, job.view),
        layers=job.encoder.layers,
        view=job.view,
        frame_rate=job.encoder.frame_rate if job.view == views.FRAMES else None,
        dtype=job.dtype,
        fingerprint={
            **job.encoder.identity(),
            **policy,
            **views.identity(job.view),
            "extractor": EXTRACTOR_VERSION,
        },
        provenance={
            **job.encoder.provenance(),
            "emofuse": version("emofuse"),
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
            "device": job.device,
            **({"threads": torch.get_num_threads()} if job.device == "cpu" else {}),
            "manifest": (job.whole or job.manifest).digest(),
            **({"batch_budget": job.budget} if job.budget is not None else {}),
            **job.provenance,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )


def frame_counts(job: FeatureJob) -> dict[str, int]:
    """Utterance id -> T, the frames that the encoder will give, from lengths or texts alone."""
    encoder = job.encoder
    if encoder.modality == "text":
        return {u.id: encoder.length(u.text) for u in job.manifest.utterances if u.text is not None}
    assert encoder.sample_rate is not None
    rate = encoder.sample_rate
    samples = {id: resampled_length(clip.samples, clip.sample_rate, rate) for id, clip in job.clips.items()}
    return {u.id: encoder.length(samples[u.id]) for u in job.manifest.utterances if u.id in samples}


def begun_with(job: FeatureJob, key: str) -> Any:
    """What the provenance of a feature that was begun says under `key`, in its unfinished part or else in the store."""
    for path in (job.part, job.store):
        if path.is_file():
            with FeatureStore(path) as store:
                feature = store.features.get(job.feature)
                if feature is not None and key in feature.provenance:
                    return feature.provenance[key]
    return None


def stored_lengths(job: FeatureJob, frames: Mapping[str, int]) -> Mapping[str, int]:
    """Utterance id -> frames of the feature: those of the encoder, or one where it is a mean or statistics."""
    return frames if job.view == views.FRAMES else dict.fromkeys(frames, 1)


def check(job: FeatureJob) -> None:
    """Refuse a store that cannot take the job's feature, before any clip is looked at.

    Raises:
        UsageError, DataError: As `refuse_unfit`, `refuse_unwritable` and `FeatureStore` do.
    """
    if job.store.is_dir():
        raise UsageError(f"--store {job.store} is a folder; name a file in it, such as {job.store / 'corpus.h5'}")
    if not job.store.exists():  # what is finished may lie where nothing can be written
        refuse_unwritable(job.store)
    for path in (job.store, job.part):
        if path.exists():
            with FeatureStore(path) as store:
                refuse_unfit(store, job.manifest, feature_spec(job))


def lacking(job: FeatureJob) -> set[str]:
    """Ids that the store does not hold yet, made in the same way from the same sources; damaged ones among them."""
    spec = feature_spec(job)
    now = {u.id: source_digest(spec.modality, u) for u in job.manifest.utterances}
    asked = {id: source for id, source in now.items() if source is not None}
    if not job.store.exists():
        return set(asked)
    with FeatureStore(job.store) as store:
        refuse_unfit(store, job.manifest, spec)
        feature = store.features.get(job.feature)
        if feature is None or feature.provenance.get("fitted_on") != spec.provenance.get("fitted_on"):
            return set(asked)
        held = dict(zip(feature.ids, feature.sources, strict=True))
        damaged = set(feature.damaged())
        return {id for id, source in asked.items() if held.get(id) != source} | damaged


def is_known(job: FeatureJob) -> bool:
    """Whether the store knows the feature, and all that the job's manifest says."""
    if not job.store.exists():
        return False
    with FeatureStore(job.store) as store:
        return job.feature in store.features and job.stored_manifest.merged_into(store.manifest) == store.manifest


def is_done(job: FeatureJob) -> bool:
    """Whether the store holds everything that the job would write and say."""
    return is_known(job) and not lacking(job)


def narrowed(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """`values` as float16 where the store wants that: numpy's own cast takes 30 times as long as torch's."""
    import torch

    if dtype != "float16":
        return values
    half = torch.from_numpy(values).half()
    # What does not fit goes on as it is: the store says how large it was.
    return values if torch.isinf(half).any() else half.numpy()


def speed_line(job: FeatureJob, outcome: JobOutcome) -> str:
    """What a finished job says of itself."""
    if not outcome.written and not outcome.failed:
        return (
            f"{job.feature}: {outcome.held} utterances are in {job.store} already, made in the same way; nothing to do"
        )
    took = clock(outcome.seconds)
    return f"{job.feature}: {outcome.written} utterances encoded in {took}, {outcome.held} in {job.store}"

"""The one loop of stage 1: manifest and encoder in, a feature of a store out."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.common.progress import Progress, clock
from emofuse.extract.audio import POLICY, AudioError, Clip, load, resampled_length
from emofuse.extract.batching import plan_batches
from emofuse.extract.encoders.base import Encoder
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store import FeatureSpec, FeatureStore, PartWriter
from emofuse.store.spec import source_digest
from emofuse.store.writer import forget_part, refuse_unfit

EXTRACTOR_VERSION = 1
BUDGET = {"cpu": {"audio": 60.0, "text": 4096}, "cuda": {"audio": 600.0, "text": 65536}}
"""Seconds of audio, or tokens, of a batch."""
FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One encoder over one corpus into one store."""

    store: Path
    manifest: Manifest
    """Surveyed: lengths and digests known, unusable items excluded."""
    root: Path
    clips: Mapping[str, Clip]
    encoder: Encoder
    encoder_name: str
    feature: str
    dtype: str
    device: str
    provenance: Mapping[str, Any]
    no_text: bool = False
    """Leave the texts out of the store."""
    recogniser: str | None = None
    """What wrote the texts that the corpus itself does not have."""

    @property
    def stored_manifest(self) -> Manifest:
        """What the store should know."""
        return self.manifest.without_text() if self.no_text else self.manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a job did."""

    feature: str
    written: int
    """Utterances encoded in this run."""
    held: int
    """Utterances that the feature holds now."""
    seconds: float
    failed: tuple[Excluded, ...]


def feature_spec(job: Job) -> FeatureSpec:
    """The feature that a job makes, with its fingerprint and provenance."""
    policy: dict[str, Any] = {"audio": dict(POLICY)} if job.encoder.modality == "audio" else {"text_kind": "transcript"}
    if job.recogniser and job.encoder.modality == "text":
        policy = {"text_kind": "transcript, or asr where there is none", "recogniser": job.recogniser}
    return FeatureSpec(
        name=job.feature,
        modality=job.encoder.modality,
        encoder=job.encoder_name,
        dimension=job.encoder.dimension,
        layers=job.encoder.layers,
        frame_rate=job.encoder.frame_rate,
        dtype=job.dtype,
        fingerprint={**job.encoder.identity(), **policy, "extractor": EXTRACTOR_VERSION},
        provenance={
            **job.encoder.provenance(),
            **job.provenance,
            "emofuse": version("emofuse"),
            "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
            "device": job.device,
            "manifest": job.manifest.digest(),
            "batch_budget": budget(job),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )


def budget(job: Job) -> float:
    """Seconds of audio, or tokens, of a batch on the job's device."""
    return BUDGET["cuda" if job.device.startswith("cuda") else "cpu"][job.encoder.modality]


def frame_counts(job: Job) -> dict[str, int]:
    """Utterance id -> T, the frames that the encoder will give, from lengths or texts alone."""
    encoder = job.encoder
    if encoder.modality == "text":
        return {u.id: encoder.length(u.text) for u in job.manifest.utterances if u.text is not None}
    assert encoder.sample_rate is not None
    rate = encoder.sample_rate
    samples = {id: resampled_length(clip.samples, clip.sample_rate, rate) for id, clip in job.clips.items()}
    return {u.id: encoder.length(samples[u.id]) for u in job.manifest.utterances if u.id in samples}


def check(job: Job) -> None:
    """Refuse a store that cannot take the job's feature, before any clip is looked at.

    Raises:
        UsageError, DataError: As `refuse_unfit` and `FeatureStore` do.
    """
    if job.store.is_dir():
        raise UsageError(f"--store {job.store} is a folder; name a file in it, such as {job.store / 'corpus.h5'}")
    if job.store.exists():
        with FeatureStore(job.store) as store:
            refuse_unfit(store, job.manifest, feature_spec(job))


def is_done(job: Job, spec: FeatureSpec) -> bool:
    """Whether the store holds everything that the job would write, made in the same way from the same sources."""
    if not job.store.exists():
        return False
    with FeatureStore(job.store) as store:
        refuse_unfit(store, job.manifest, spec)
        feature = store.features.get(job.feature)
        if feature is None or feature.provenance.get("fitted_on") != spec.provenance.get("fitted_on"):
            return False
        held = dict(zip(feature.ids, feature.sources, strict=True))
        asked = {u.id: source_digest(spec.modality, u) for u in job.manifest.utterances}
        same = all(source is None or held.get(id) == source for id, source in asked.items())
        return same and job.stored_manifest.merged_into(store.manifest) == store.manifest and not feature.damaged()


def run(job: Job, quiet: bool = False) -> Outcome:
    """Encode what the store still lacks and commit it.

    Raises:
        UsageError, DataError: As `PartWriter` does; nothing in the store has changed then.
    """
    spec = feature_spec(job)
    if is_done(job, spec):
        forget_part(job.store, spec.name)
        return Outcome(feature=job.feature, written=0, held=len(frame_counts(job)), seconds=0.0, failed=())
    started = time.monotonic()
    with PartWriter(job.store, job.stored_manifest, spec, frame_counts(job)) as writer:
        failed = _fill(job, writer, quiet)
        written, held = len(writer.pending) - len(failed), len(writer.lengths) - len(failed)
        writer.commit(failed)
    return Outcome(
        feature=job.feature,
        written=written,
        held=held,
        seconds=time.monotonic() - started,
        failed=tuple(failed),
    )


def _fill(job: Job, writer: PartWriter, quiet: bool) -> list[Excluded]:
    # The corpus has the texts that the store may leave out.
    utterances, lengths = {u.id: u for u in (*writer.manifest.utterances, *job.manifest.utterances)}, writer.lengths
    audio = job.encoder.modality == "audio"
    # Planned from all that was asked for, not from what is left: the same utterance stands in the same batch, and gets
    # the same bits, however often the work is interrupted.
    pending = set(writer.pending)
    planned = dict.fromkeys([*(u.id for u in job.manifest.utterances if u.id in lengths), *writer.pending])
    seconds = {id: utterances[id].seconds or 0.0 for id in planned}
    sizes = {id: round(1000 * seconds[id]) if audio else lengths[id] for id in planned}
    batches = [b for b in plan_batches(sizes, int(budget(job) * (1000 if audio else 1))) if not pending.isdisjoint(b)]
    failed: list[Excluded] = []
    hours, flushed, started = 0.0, time.monotonic(), time.monotonic()
    done = len(lengths) - len(writer.pending)
    work = float(sum(sizes[id] for batch in batches for id in batch))
    with Progress(len(lengths), job.feature, "utterances", done=done, work=work, quiet=quiet) as progress:
        for ids, items in _decoded(job, [[utterances[id] for id in batch] for batch in batches]):
            usable = [(id, item) for id, item in zip(ids, items, strict=True) if not isinstance(item, AudioError)]
            for id, item in zip(ids, items, strict=True):
                if isinstance(item, AudioError) and id in pending:
                    modality = job.encoder.modality
                    failed.append(Excluded(id=id, reason=f"{modality}: {item}", modality=modality))
                    progress.say(f"excluded {id}: {item}")
            for id, values in _encode(job.encoder, usable):
                if id not in pending:
                    continue
                if values is None:
                    reason = f"{job.encoder.modality}: does not fit in the memory of {job.device}"
                    failed.append(Excluded(id=id, reason=reason, modality=job.encoder.modality))
                    progress.say(f"excluded {id}: {reason}")
                else:
                    writer.put(id, _narrowed(values, job.dtype))
            if time.monotonic() - flushed > FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()
            hours += sum(seconds[id] for id in ids) / 3600
            speed = hours * 3600 / max(time.monotonic() - started, 1e-9)
            note = f"{hours:.2f} h, {speed:.0f} x real time" if audio else ""
            progress.advance(len(pending.intersection(ids)), note, work=float(sum(sizes[id] for id in ids)))
    return failed


Item = NDArray[np.float32] | str | AudioError


def _decoded(job: Job, batches: Sequence[list[Utterance]]) -> Iterator[tuple[list[str], list[Item]]]:
    """Batches with their waveforms or texts; the next batch is decoded while this one is encoded."""

    def decode(utterance: Utterance) -> Item:
        if job.encoder.modality == "text":
            return AudioError("it is left out of the store") if utterance.text is None else utterance.text
        assert utterance.audio is not None
        assert job.encoder.sample_rate is not None
        try:
            return load(job.root / utterance.audio, job.encoder.sample_rate, utterance.start, utterance.end)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        ahead: list[list[Future[Item]]] = [[pool.submit(decode, u) for u in batch] for batch in batches[:1]]
        try:
            for i, batch in enumerate(batches):
                if i + 1 < len(batches):
                    ahead.append([pool.submit(decode, u) for u in batches[i + 1]])
                yield [u.id for u in batch], [future.result() for future in ahead.pop(0)]
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(encoder: Encoder, batch: Sequence[tuple[str, Any]]) -> list[tuple[str, NDArray[np.float32] | None]]:
    """Encode a batch of (id, item); what does not fit in memory is halved, and an item that never fits gives none."""
    import torch

    if not batch:
        return []
    try:
        return list(zip([id for id, _ in batch], encoder.encode([item for _, item in batch]), strict=True))
    except (RuntimeError, MemoryError) as error:  # torch names a full GPU by its own class, a full host by a text
        full = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if not full:
            raise
    if len(batch) == 1:
        return [(batch[0][0], None)]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return _encode(encoder, batch[:half]) + _encode(encoder, batch[half:])


def _narrowed(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """`values` as float16 where the store wants that: numpy's own cast takes 30 times as long as torch's."""
    import torch

    if dtype != "float16":
        return values
    half = torch.from_numpy(values).half()
    # What does not fit goes on as it is: the store says how large it was.
    return values if torch.isinf(half).any() else half.numpy()


def speed_line(job: Job, outcome: Outcome) -> str:
    """What a finished job says of itself."""
    if not outcome.written and not outcome.failed:
        return (
            f"{job.feature}: {outcome.held} utterances are in {job.store} already, made in the same way; nothing to do"
        )
    took = clock(outcome.seconds)
    return f"{job.feature}: {outcome.written} utterances encoded in {took}, {outcome.held} in {job.store}"

"""The loop of stage 1: jobs in, complete features of a store out.

Every encoder takes the corpus in its own batches, and all of them run side by side, longest utterances first, so
that a clip is decoded once for all of them. Reading, encoding and writing overlap.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from emofuse.common.output.console import warn
from emofuse.common.output.progress import Progress
from emofuse.extract.audio.exclusions import excluded_line
from emofuse.extract.encoding.encoder_pass import DoesNotFitError, EncoderPass
from emofuse.extract.encoding.reader import BatchRequest, read_ahead
from emofuse.extract.encoding.writer_thread import WriterThread
from emofuse.extract.plan.budget import halved_budget
from emofuse.extract.plan.compute_precision import with_precision_difference
from emofuse.extract.plan.device import device_kind
from emofuse.extract.plan.job import FeatureJob, JobOutcome, feature_spec, frame_counts, stored_lengths
from emofuse.extract.plan.passes import PassPlan, group_by_pass, plan_pass
from emofuse.extract.plan.store_state import is_done
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureWriter
from emofuse.store.core.partial import delete_partial


def run_jobs(jobs: Sequence[FeatureJob], quiet: bool = False) -> list[JobOutcome]:
    """Encode what the stores miss, and commit it feature by feature.

    Args:
        jobs: Of one corpus, with budgets; jobs that share an encoder share its pass.
        quiet: Show no progress.

    Raises:
        UsageError, DataError: As `FeatureWriter`; the store is unchanged then.
    """
    to_encode: dict[str, int] = {}
    while True:
        try:
            return _run(jobs, quiet, to_encode)
        except DoesNotFitError as error:
            jobs = _with_half_budget(jobs, error.jobs)


def _with_half_budget(jobs: Sequence[FeatureJob], too_large: Sequence[FeatureJob]) -> list[FeatureJob]:
    half = halved_budget(too_large)
    _free_gpu_memory(too_large[0].device)
    names = " and ".join(job.feature for job in too_large)
    unit = "s of audio" if too_large[0].encoder.modality == "audio" else "tokens"
    warn(f"{names}: batches of {too_large[0].budget:g} {unit} do not fit in memory; continuing with {half:g}")
    features = {job.feature for job in too_large}
    return [replace(job, budget=half) if job.feature in features else job for job in jobs]


def _run(jobs: Sequence[FeatureJob], quiet: bool, to_encode: dict[str, int]) -> list[JobOutcome]:
    """One attempt.

    Args:
        jobs: As `run_jobs` takes them.
        quiet: Show no progress.
        to_encode: Feature -> the utterances that it missed before the first attempt; filled here.
    """
    started = time.monotonic()
    outcomes: dict[str, JobOutcome] = {}
    for job in jobs:
        if is_done(job):
            delete_partial(job.store, job.feature)
            stored = len(frame_counts(job))
            outcomes[job.feature] = JobOutcome(feature=job.feature, encoded=0, stored=stored, seconds=0.0, excluded=())
    todo = with_precision_difference([job for job in jobs if job.feature not in outcomes])
    plans = [plan_pass(group) for group in group_by_pass(todo)]
    with ExitStack() as stack:
        writers: dict[str, FeatureWriter] = {}
        for plan in plans:
            for job in plan.jobs:
                writers[job.feature] = stack.enter_context(_writer(job, plan))
                to_encode.setdefault(job.feature, len(writers[job.feature].pending))
        excluded = _encode(plans, writers, quiet)
        for feature, writer in writers.items():
            items = excluded[feature]
            stored = len(writer.lengths) - len(items)
            writer.commit(items)
            outcomes[feature] = JobOutcome(
                feature=feature,
                encoded=to_encode[feature] - len(items),
                stored=stored,
                seconds=time.monotonic() - started,
                excluded=tuple(items),
            )
    return [outcomes[job.feature] for job in jobs]


def _writer(job: FeatureJob, plan: PassPlan) -> FeatureWriter:
    lengths = stored_lengths(job, plan.lengths)
    return FeatureWriter(job.store, job.stored_manifest, feature_spec(job), lengths, wait=job.wait_seconds)


def _encode(plans: Sequence[PassPlan], writers: Mapping[str, FeatureWriter], quiet: bool) -> dict[str, list[Excluded]]:
    """Encode and write everything that is pending; returns, by feature, what could not be encoded."""
    passes = [EncoderPass(plan, writers) for plan in plans]
    excluded: dict[str, list[Excluded]] = {feature: [] for feature in writers}
    if not passes:
        return excluded
    requests = _batch_requests(passes)
    utterances = {u.id: u for p in passes for u in p.utterances.values()}
    first_job = plans[0].jobs[0]
    with (
        _progress(passes, requests, " and ".join(writers), quiet) as progress,
        read_ahead(requests, utterances, first_job.root, on_gpu=device_kind(first_job.device) == "cuda") as batches,
        WriterThread(list(writers.values())) as writer_thread,
    ):
        throughput = Throughput()
        for request, items in batches:
            encoder_pass, ids = passes[request.pass_number], request.ids
            for item in encoder_pass.encode(ids, items, writer_thread.submit):
                if not any(item in others for others in excluded.values()):  # another encoder may have reported it
                    progress.say(excluded_line(item))
                for feature in encoder_pass.features_without(item.id):
                    excluded[feature].append(item)
            note = throughput.add(encoder_pass.audio_seconds(ids))
            progress.advance(len(encoder_pass.pending.intersection(ids)), note, work=encoder_pass.work(ids))
    for encoder_pass in passes:
        for item in encoder_pass.too_large:
            for feature in encoder_pass.features_without(item.id):
                excluded[feature].append(item)
    return excluded


def _progress(passes: Sequence[EncoderPass], requests: Sequence[BatchRequest], title: str, quiet: bool) -> Progress:
    total = sum(p.total for p in passes)
    done = total - sum(len(p.pending) for p in passes)
    work = sum(passes[request.pass_number].work(request.ids) for request in requests)
    return Progress(total, title, "utterances", done=done, work=work, quiet=quiet)


def _batch_requests(passes: Sequence[EncoderPass]) -> list[BatchRequest]:
    """Every batch with something pending.

    The longest utterances of all encoders come first, so that a decoded clip is soon needed no more; texts, which wait
    for no reader, come before them.
    """
    requests = [
        BatchRequest(number, batch, encoder_pass.encoder.sample_rate, job.channel, job.augmentation)
        for number, encoder_pass in enumerate(passes)
        for job in encoder_pass.jobs[:1]
        for batch in encoder_pass.batches
    ]

    def order(request: BatchRequest) -> tuple[bool, int, int]:
        encoder_pass = passes[request.pass_number]
        longest = encoder_pass.plan.sizes.get(request.ids[0], 0)
        return encoder_pass.encoder.modality == "audio", -longest, request.pass_number

    return sorted(requests, key=order)


def _free_gpu_memory(device: str) -> None:
    import torch

    if device_kind(device) == "cuda":
        torch.cuda.empty_cache()


class Throughput:
    """How fast audio is encoded, from the moment this is created."""

    def __init__(self) -> None:
        self._started, self._seconds = time.monotonic(), 0.0

    def add(self, seconds: float) -> str:
        """Count `seconds` more of audio; returns the note for the progress line, empty while there is no audio."""
        self._seconds += seconds
        if not self._seconds:
            return ""
        speed = self._seconds / max(time.monotonic() - self._started, 1e-9)
        return f"{self._seconds / 3600:.2f} h, {speed:.0f} x real time"

"""The one loop of stage 1: manifest and encoders in, features of a store out.

Each encoder goes through the corpus in batches of its own; all of them go side by side, longest utterances first, so
that a clip is decoded once for all of them. Reading, encoding and writing overlap.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from emofuse.common.progress import Progress
from emofuse.extract.plan.budget import device_kind, halved
from emofuse.extract.plan.job import FeatureJob, JobOutcome, feature_spec, frame_counts, is_done, stored_lengths
from emofuse.extract.plan.passes import PassPlan, by_source, plan
from emofuse.extract.plan.precision import with_difference
from emofuse.extract.run.encoder_pass import DoesNotFitError, EncoderPass
from emofuse.extract.run.reader import BatchRequest, decoded
from emofuse.extract.run.writer_thread import WriterThread
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureWriter
from emofuse.store.core.writer import delete_partial


def run(jobs: Sequence[FeatureJob], quiet: bool = False) -> list[JobOutcome]:
    """Encode what the stores still lack and commit it, feature by feature.

    Args:
        jobs: Of one corpus; those of one source share its pass. Their budgets are settled.
        quiet: No progress.

    Raises:
        UsageError, DataError: As `FeatureWriter` does; nothing in the store has changed then.
    """
    begun: dict[str, int] = {}
    while True:
        try:
            return _run(jobs, quiet, begun)
        except DoesNotFitError as error:
            half = halved(error.jobs)
            _make_room(error.jobs[0].device)
            names = " and ".join(job.feature for job in error.jobs)
            unit = "s of audio" if error.jobs[0].encoder.modality == "audio" else "tokens"
            said = f"{names}: batches of {error.jobs[0].budget:g} {unit} do not fit in memory; going on with {half:g}"
            print(said, file=sys.stderr, flush=True)
            smaller = {job.feature for job in error.jobs}
            jobs = [replace(job, budget=half) if job.feature in smaller else job for job in jobs]


def _run(jobs: Sequence[FeatureJob], quiet: bool, begun: dict[str, int]) -> list[JobOutcome]:
    """`begun`: feature -> what was to be encoded before the first attempt; filled here."""
    started = time.monotonic()
    outcomes: dict[str, JobOutcome] = {}
    for job in jobs:
        if is_done(job):
            delete_partial(job.store, job.feature)
            outcomes[job.feature] = JobOutcome(
                feature=job.feature, written=0, held=len(frame_counts(job)), seconds=0.0, failed=()
            )
    passes = [plan(same) for same in by_source(with_difference([j for j in jobs if j.feature not in outcomes]))]
    with ExitStack() as stack:
        writers: dict[str, FeatureWriter] = {}
        for one in passes:
            for job in one.jobs:
                lengths = stored_lengths(job, one.lengths)
                writer = FeatureWriter(job.store, job.stored_manifest, feature_spec(job), lengths, wait=job.patience)
                writers[job.feature] = stack.enter_context(writer)
                begun.setdefault(job.feature, len(writer.pending))
        failed = _fill(passes, writers, quiet)
        for name, writer in writers.items():
            gone = failed[name]
            written, held = begun[name] - len(gone), len(writer.lengths) - len(gone)
            writer.commit(gone)
            outcomes[name] = JobOutcome(
                feature=name,
                written=written,
                held=held,
                seconds=time.monotonic() - started,
                failed=tuple(gone),
            )
    return [outcomes[job.feature] for job in jobs]


def _fill(passes: Sequence[PassPlan], writers: Mapping[str, FeatureWriter], quiet: bool) -> dict[str, list[Excluded]]:
    """Encode and write all that is pending; what failed, by feature."""
    filling = [EncoderPass(one, writers) for one in passes]
    failed: dict[str, list[Excluded]] = {name: [] for name in writers}
    if not filling:
        return failed
    turns = _turns(filling)
    first = filling[0].one.jobs[0]
    utterances = {u.id: u for f in filling for u in f.utterances.values()}
    total = sum(f.total for f in filling)
    done = total - sum(len(f.pending) for f in filling)
    work = sum(filling[turn.number].work(turn.ids) for turn in turns)
    title = " and ".join(writers)
    with (
        Progress(total, title, "utterances", done=done, work=work, quiet=quiet) as progress,
        decoded(turns, utterances, first.root, beside=device_kind(first.device) == "cuda") as batches,
        WriterThread(list(writers.values())) as writing,
    ):
        speed = _Speed()
        for turn, items in batches:
            doing = filling[turn.number]
            gone = doing.unusable(turn.ids, items)
            finish = doing.begin(turn.ids, items)
            if isinstance(finish, Excluded):
                gone.append(finish)
            elif finish is not None:
                writing.give(finish)
            for item in gone:
                if not any(item in others for others in failed.values()):  # another encoder may have found it too
                    progress.say(f"excluded {item.id}: {item.reason.partition(': ')[2]}")
                for name in doing.lacking(item.id):
                    failed[name].append(item)
            note = speed.note(doing.seconds(turn.ids))
            progress.advance(len(doing.pending.intersection(turn.ids)), note, work=doing.work(turn.ids))
    for doing in filling:
        for item in doing.late:
            for name in doing.lacking(item.id):
                failed[name].append(item)
    return failed


def _turns(filling: Sequence[EncoderPass]) -> list[BatchRequest]:
    """Every batch that holds something pending. The longest utterances first, of all encoders alike, so that a decoded
    clip is soon of no more use; texts, which wait for no reader, before them."""
    found = [
        ((f.encoder.modality == "audio", -f.one.sizes.get(batch[0], 0), number), batch, f.encoder.sample_rate)
        for number, f in enumerate(filling)
        for batch in f.batches
    ]
    return [BatchRequest(key[2], batch, rate) for key, batch, rate in sorted(found, key=lambda t: t[0])]


def _make_room(device: str) -> None:
    import torch

    if device_kind(device) == "cuda":
        torch.cuda.empty_cache()


class _Speed:
    """How fast audio goes through."""

    def __init__(self) -> None:
        self._started, self._hours = time.monotonic(), 0.0

    def note(self, seconds: float) -> str:
        """For the progress line, after `seconds` more of audio."""
        self._hours += seconds / 3600
        if not self._hours:
            return ""
        speed = self._hours * 3600 / max(time.monotonic() - self._started, 1e-9)
        return f"{self._hours:.2f} h, {speed:.0f} x real time"

"""Passes: which jobs share an encoder's pass over the corpus, its batches, and their distribution over processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emofuse.extract.audio.augmentation import Augmentation
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.plan.batching import BatchIds, distribute, plan_batches
from emofuse.extract.plan.job import FeatureJob, frame_counts
from emofuse.manifests.schema import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPlan:
    """One pass of an encoder over a corpus."""

    jobs: tuple[FeatureJob, ...]
    """The features that it writes."""
    lengths: Mapping[str, int]
    """Utterance id -> frames."""
    sizes: Mapping[str, int]
    """Utterance id -> milliseconds of audio or tokens."""
    batches: Sequence[BatchIds]

    @property
    def encoder(self) -> Encoder:
        """The encoder that runs."""
        return self.jobs[0].computing_encoder

    def batches_of(self, sizes: Mapping[str, int]) -> list[BatchIds]:
        """Batches of utterances of these `sizes`, within the budget."""
        budget = self.jobs[0].budget
        assert budget is not None
        return plan_batches(sizes, int(budget * (1000 if self.encoder.modality == "audio" else 1)))


def group_by_pass(jobs: Sequence[FeatureJob]) -> list[list[FeatureJob]]:
    """Jobs that one encoder does in one pass: of the same utterances, in the same batches."""
    groups: dict[tuple[int, float | None, Augmentation | None, tuple[str, ...]], list[FeatureJob]] = {}
    for job in jobs:
        # Shares that were split by different budgets have different utterances, even if the budgets are equal now.
        key = (id(job.computing_encoder), job.budget, job.augmentation, tuple(job.manifest.ids))
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def plan_pass(jobs: Sequence[FeatureJob]) -> PassPlan:
    """The pass of jobs that share an encoder, planned from the manifest and the budget alone.

    An utterance is always in the same batch, and gets the same bits, however often the work is interrupted and however
    many processes do it: planning whole batches of a plan again by themselves gives the same batches. Augmented copies
    are in the batches of their originals, also where their speed differs.
    """
    first = jobs[0]
    counts = frame_counts(first)
    if first.computing_encoder.modality == "audio":
        seconds = {u.id: u.seconds or 0.0 for u in first.manifest.utterances}
        sizes = {id: round(1000 * seconds[id]) for id in counts}
    else:
        sizes = dict(counts)
    plan = PassPlan(jobs=tuple(jobs), lengths=counts, sizes=sizes, batches=())
    return replace(plan, batches=plan.batches_of(sizes))


def split_jobs(jobs: Sequence[FeatureJob], count: int, missing: Mapping[str, set[str]]) -> list[list[FeatureJob]]:
    """The work of jobs with budgets, distributed over `count` processes in whole batches, balanced by size.

    The manifest of each share's job has the utterances of that share; a job without any is excluded.

    Args:
        jobs: Of one corpus.
        count: How many shares there are.
        missing: Feature -> the ids to encode; batches without any of them are dropped after the distribution.
    """
    shares: list[list[FeatureJob]] = [[] for _ in range(count)]
    for group in group_by_pass(jobs):
        plan = plan_pass(group)
        wanted = set().union(*(missing[job.feature] for job in group))
        share_of = {
            id: number
            for number, batches in enumerate(distribute(plan.batches, plan.sizes, count))
            for batch in batches
            if not wanted.isdisjoint(batch)
            for id in batch
        }
        for job in group:
            rows: list[list[Utterance]] = [[] for _ in range(count)]
            for utterance in job.manifest.utterances:
                if utterance.id in share_of:
                    rows[share_of[utterance.id]].append(utterance)
            for share, utterances in zip(shares, rows, strict=True):
                if utterances:
                    share.append(_with_utterances(job, utterances))
    return shares


def _with_utterances(job: FeatureJob, utterances: Sequence[Utterance]) -> FeatureJob:
    reads_audio = job.encoder.modality == "audio"
    clips = {u.id: job.clips[u.id] for u in utterances if reads_audio and u.id in job.clips}
    return replace(job, manifest=replace(job.manifest, utterances=tuple(utterances)), clips=clips)

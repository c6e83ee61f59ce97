"""Who encodes what with whom: decided from the manifest and the budget alone, before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emofuse.extract.encoders.base import Encoder
from emofuse.extract.plan.batching import BatchIds, deal, plan_batches
from emofuse.extract.plan.job import FeatureJob, frame_counts
from emofuse.manifests.schema import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPlan:
    """One encoder on its way through a corpus."""

    jobs: tuple[FeatureJob, ...]
    """The features that it leaves."""
    lengths: Mapping[str, int]
    """Utterance id -> frames."""
    sizes: Mapping[str, int]
    """Utterance id -> milliseconds of audio or tokens."""
    batches: Sequence[BatchIds]

    @property
    def encoder(self) -> Encoder:
        """The one that runs."""
        return self.jobs[0].computes

    def planned(self, sizes: Mapping[str, int]) -> list[BatchIds]:
        """Batches of utterances of these `sizes`, within the budget."""
        budget = self.jobs[0].budget
        assert budget is not None
        return plan_batches(sizes, int(budget * (1000 if self.encoder.modality == "audio" else 1)))


def by_source(jobs: Sequence[FeatureJob]) -> list[list[FeatureJob]]:
    """Jobs that one encoder does in one pass, together: of the same utterances, in the same batches."""
    grouped: dict[tuple[int, float | None, tuple[str, ...]], list[FeatureJob]] = {}
    for job in jobs:
        # A share of a corpus that was dealt by another budget is of other utterances, whatever its budget is by now.
        grouped.setdefault((id(job.computes), job.budget, tuple(job.manifest.ids)), []).append(job)
    return list(grouped.values())


def plan(jobs: Sequence[FeatureJob]) -> PassPlan:
    """The pass of jobs of one source: planned from the manifest and the budget alone.

    The same utterance stands in the same batch, and gets the same bits, however often the work is interrupted and
    however many processes do it: whole batches of a plan, planned again on their own, are the same batches.
    """
    first = jobs[0]
    counts = frame_counts(first)
    audio = first.computes.modality == "audio"
    seconds = {u.id: u.seconds or 0.0 for u in first.manifest.utterances}
    sizes = {id: round(1000 * seconds[id]) if audio else counts[id] for id in counts}
    whole = PassPlan(jobs=tuple(jobs), lengths=counts, sizes=sizes, batches=())
    return replace(whole, batches=whole.planned(sizes))


def shares(jobs: Sequence[FeatureJob], count: int, wanted: Mapping[str, set[str]]) -> list[list[FeatureJob]]:
    """The work of jobs whose budgets are settled, dealt to `count` processes in whole batches, alike in seconds.

    Each share's jobs have the utterances that fall to it in their manifest; a job that gets none is left out.

    Args:
        wanted: Feature -> the ids that it lacks; batches in which nothing is lacking are left out after they are dealt.
    """
    dealt: list[list[FeatureJob]] = [[] for _ in range(count)]
    for same in by_source(jobs):
        one = plan(same)
        lacks = set().union(*(wanted[job.feature] for job in same))
        by_share = enumerate(deal(one.batches, one.sizes, count))
        owner = {id: k for k, batches in by_share for b in batches if not lacks.isdisjoint(b) for id in b}
        for job in same:
            rows: list[list[Utterance]] = [[] for _ in range(count)]
            for utterance in job.manifest.utterances:
                if utterance.id in owner:
                    rows[owner[utterance.id]].append(utterance)
            for jobs_of_share, mine in zip(dealt, rows, strict=True):
                if mine:
                    manifest = replace(job.manifest, utterances=tuple(mine))
                    heard = job.encoder.modality == "audio"
                    clips = {u.id: job.clips[u.id] for u in mine if heard and u.id in job.clips}
                    jobs_of_share.append(replace(job, manifest=manifest, clips=clips))
    return dealt

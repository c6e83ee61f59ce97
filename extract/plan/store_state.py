"""Compares a job with its store: whether they fit, which utterances are missing, how the feature was started."""

from __future__ import annotations

from typing import Any

from emofuse.common.disk.files import refuse_unwritable
from emofuse.common.errors import UsageError
from emofuse.common.output.console import format_size, plural
from emofuse.extract.plan.job import FeatureJob, feature_spec, frame_counts, stored_lengths
from emofuse.store import FeatureStore
from emofuse.store.core.spec import source_digest
from emofuse.store.core.writer import require_matching_store


def require_fitting_store(job: FeatureJob) -> None:
    """Refuse a store that cannot take the job's feature, before any clip is scanned.

    Raises:
        UsageError, DataError: As `require_matching_store`, `refuse_unwritable` and `FeatureStore`.
    """
    if job.store.is_dir():
        raise UsageError(f"--store {job.store} is a folder; name a file in it, such as {job.store / 'corpus.h5'}")
    if not job.store.exists():  # a finished store may be on a read-only disk
        refuse_unwritable(job.store)
    for path in (job.store, job.partial_store):
        if path.exists():
            with FeatureStore(path) as store:
                require_matching_store(store, job.manifest, feature_spec(job))


def recorded_provenance(job: FeatureJob, key: str) -> Any:
    """The value of `key` in the provenance of the job's feature, from its partial store or else the store; or None."""
    for path in (job.partial_store, job.store):
        if path.is_file():
            with FeatureStore(path) as store:
                feature = store.features.get(job.feature)
                if feature is not None and key in feature.provenance:
                    return feature.provenance[key]
    return None


def missing_ids(job: FeatureJob) -> set[str]:
    """Utterances without a value of the same settings and sources in the store; damaged ones are among them."""
    spec = feature_spec(job)
    digests = {u.id: source_digest(spec.modality, u) for u in job.manifest.utterances}
    wanted = {id: source for id, source in digests.items() if source is not None}
    if not job.store.exists():
        return set(wanted)
    with FeatureStore(job.store) as store:
        require_matching_store(store, job.manifest, spec)
        feature = store.features.get(job.feature)
        if feature is None or feature.provenance.get("fitted_on") != spec.provenance.get("fitted_on"):
            return set(wanted)
        stored = dict(zip(feature.ids, feature.sources, strict=True))
        damaged = set(feature.damaged())
        return {id for id, source in wanted.items() if stored.get(id) != source} | damaged


def is_recorded(job: FeatureJob) -> bool:
    """Whether the store has the feature, and everything in the job's manifest."""
    if not job.store.exists():
        return False
    with FeatureStore(job.store) as store:
        return job.feature in store.features and job.stored_manifest.merged_into(store.manifest) == store.manifest


def is_done(job: FeatureJob) -> bool:
    """Whether the store has everything that the job would write."""
    return is_recorded(job) and not missing_ids(job)


def planned_line(job: FeatureJob) -> str:
    """What a job would write, and how large it would be."""
    spec, lengths = feature_spec(job), stored_lengths(job, frame_counts(job))
    size = plural(len(lengths), "utterance")
    state = "is there already" if is_done(job) else "would be written"
    return (
        f"{job.feature}: {size}, {job.manifest.hours:.2f} h, {sum(lengths.values())} frames of "
        f"{'x'.join(map(str, spec.frame_shape))} {spec.dtype}, {format_size(sum(lengths.values()) * spec.frame_bytes)} "
        f"{state} in {job.store}"
    )

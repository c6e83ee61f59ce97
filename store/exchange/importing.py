"""Takes a feature from another lab's format into a store: joined by utterance id, looked at first, then written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError, complain
from emofuse.common.progress import Progress
from emofuse.manifests.schema import Manifest, Utterance, read_manifest
from emofuse.store import FeatureSpec, FeatureStore, PartWriter
from emofuse.store.exchange.formats import FORMATS, Asked, Bad, Source
from emofuse.store.exchange.report import Report, join, refuse_duplicates
from emofuse.store.exchange.said import Said
from emofuse.store.exchange.survey import Survey, digest_of, frames_of, survey
from emofuse.store.fitted import parse_fitted_on
from emofuse.store.spec import DTYPES, Modality

NOBODY_SAID: list[dict[str, Any]] = [{"corpus": "unknown", "labels": True}]
"""`fitted_on` where nobody has said it; `fit` refuses such a feature."""


NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What is to be imported, as the user says it."""

    store: Path
    form: str
    """The name of the format."""
    source: Path
    name: str
    modality: Modality
    manifest: Path | None = None
    corpus: str | None = None
    """Make the manifest from the source and call the corpus so."""
    frame_rate: float | None = None
    dtype: str | None = None
    """fp16, fp32 or bf16; none: as the source has it."""
    fitted_on: str | None = None
    encoder: str | None = None
    keep_padding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did."""

    report: Report
    spec: FeatureSpec
    written: int
    """Utterances that were written; 0 where the store had them all."""


def import_feature(job: Import, quiet: bool = False) -> Imported:
    """Import one feature.

    Raises:
        UsageError: Nothing matches, ids occur twice, arrays cannot be taken, options do not fit, or the store holds
            this feature from another source (the field is named).
        DataError: The source or the store is damaged.
    """
    form = FORMATS[job.form]
    if job.frame_rate is not None and not 0 < job.frame_rate < 1e6:
        raise UsageError(f"--frame-rate {job.frame_rate}: frames per second, more than 0")
    if not job.source.exists() and not job.source.parent.is_dir():
        raise UsageError(f"--source {job.source}: nothing there")
    source = form.open(job.source, Asked(name=job.name, modality=job.modality, keep_padding=job.keep_padding))
    refuse_duplicates(source.ids)
    manifest = manifest_for(job, source)
    report = join(source.ids, manifest, job.modality, form.key)
    dtype = DTYPES[job.dtype] if job.dtype else source.said.dtype
    fitted_on = fitted(job, source.said)
    with Progress(len(source.ids), "reading", "utterances", quiet=quiet) as progress:
        seen = survey(source, report.matched, job.keep_padding, dtype == "float16", progress)
    spec = spec_for(
        job, source.said, seen, dtype or ("float16" if seen.dtypes == {"float16"} else "float32"), fitted_on
    )
    lengths = {report.matched[id]: n for id, n in seen.lengths.items()}
    if holds(job.store, spec, lengths):
        return Imported(report=report, spec=spec, written=0)
    job.store.parent.mkdir(parents=True, exist_ok=True)
    with PartWriter(job.store, manifest, spec, lengths) as writer:
        left = set(writer.pending)
        with Progress(len(left), "writing", "utterances", quiet=quiet) as progress:
            for id, array in source.read():
                target = report.matched.get(id)
                if target is None or target not in left:
                    continue
                if isinstance(array, Bad) or digest_of(array) != seen.digests[id]:
                    raise DataError(f"{printable(id)} changed while the source was read; import it again")
                writer.put(target, frames_of(array))
                progress.advance()
        writer.commit()
    return Imported(report=report, spec=spec, written=len(left))


def manifest_for(job: Import, source: Source) -> Manifest:
    """The manifest whose ids count: the store's, the one named, or one made from the source.

    Raises:
        UsageError: None of them, more than one, or the source says nothing of its utterances.
    """
    options = [name for name, value in (("--manifest", job.manifest), ("--corpus", job.corpus)) if value is not None]
    if job.store.exists():
        if options:
            raise UsageError(f"{' and '.join(options)} has no effect: {job.store} exists and has a manifest of its own")
        with FeatureStore(job.store) as store:
            return store.manifest
    if len(options) != 1:
        raise UsageError(
            f"{job.store} does not exist yet: say what its utterances are with --manifest M.jsonl, or, where the "
            "source says it itself, with --corpus NAME" + ("; not with both" if options else "")
        )
    if job.manifest is not None:
        return read_manifest(job.manifest)
    assert job.corpus is not None
    if source.utterances is None:
        raise UsageError("--corpus: the source has nothing but ids, a manifest needs more; give one with --manifest")
    complain(
        [
            f"{printable(u.id)} has no text, which a text feature needs"
            for u in source.utterances
            if job.modality == "text" and u.text is None
        ],
        "no manifest can be made from the source",
    )
    utterances = tuple(_with_audio(u) if job.modality == "audio" else u for u in source.utterances)
    return Manifest(corpus=job.corpus, reader=f"import-{job.form}-1", utterances=utterances)


def _with_audio(u: Utterance) -> Utterance:
    """An utterance that has audio, though the source does not say where: a path that is named by its id."""
    return u if u.audio is not None else replace(u, audio=quote(u.id, safe="").replace(".", "%2E") + ".wav")


def fitted(job: Import, said: Said) -> list[dict[str, Any]]:
    """What the feature's encoder was fitted on, as the user or the source says it.

    Raises:
        UsageError: They contradict each other.
    """
    asked = None if job.fitted_on is None else parse_fitted_on(job.fitted_on)
    if asked is None:
        return NOBODY_SAID if said.fitted_on is None else said.fitted_on
    if said.fitted_on not in (None, asked, NOBODY_SAID):
        raise UsageError(
            f"--fitted-on {job.fitted_on}: the source itself says {printable(str(said.fitted_on), 300)}; "
            "leave the option away"
        )
    return asked


def spec_for(job: Import, said: Said, seen: Survey, dtype: str, fitted_on: list[dict[str, Any]]) -> FeatureSpec:
    """The feature that is written."""
    layers = seen.shape[0] if len(seen.shape) == 2 else 0
    view = "mean" if seen.vectors or (said.view == "mean" and set(seen.lengths.values()) == {1}) else "frames"
    rate = job.frame_rate if job.frame_rate is not None else said.frame_rate
    if rate is not None and job.modality == "text":
        raise UsageError("--frame-rate has no meaning for text; leave it away")
    told = said.fingerprint
    said_by = "--fitted-on" if job.fitted_on else NOBODY if said.fitted_on is None else "the source"
    return FeatureSpec(
        name=job.name,
        modality=job.modality,
        encoder=job.encoder or said.encoder or "imported",
        dimension=seen.shape[-1],
        layers=said.layers if said.layers and len(said.layers) == layers else tuple(range(layers)),
        view=view,
        frame_rate=rate,
        dtype=dtype,
        fingerprint={
            "imported_from": job.form,
            "content": seen.content,
            **({"padding": "kept"} if job.keep_padding else {}),
        },
        provenance={
            "source": job.source.resolve().name,
            "fitted_on": fitted_on,
            "fitted_on_said_by": said_by,
            **({"original_fingerprint": dict(told)} if told else {}),
            "emofuse": version("emofuse"),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )  # fmt: skip


def holds(path: Path, spec: FeatureSpec, lengths: Mapping[str, int]) -> bool:
    """Whether a store has the feature already, from the same source and with the same said of it."""
    if not path.exists():
        return False
    with FeatureStore(path) as store:
        feature = store.features.get(spec.name)
        return (
            feature is not None
            and feature.fingerprint == spec.fingerprint
            and (feature.spec.dtype, feature.encoder, feature.frame_rate) == (spec.dtype, spec.encoder, spec.frame_rate)
            and feature.provenance.get("fitted_on") == spec.provenance["fitted_on"]
            and set(lengths) <= set(feature.ids)
            and not set(lengths) & set(feature.stale)
        )

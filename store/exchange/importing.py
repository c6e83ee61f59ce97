"""Takes a feature from another lab's format into a store: joined by utterance id, looked at first, then written."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError, complain
from emofuse.common.progress import Progress
from emofuse.manifests.jsonl import read_manifest
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureSpec, FeatureStore, FeatureWriter
from emofuse.store.core.fitted_on import UNKNOWN, in_words, normal, parse_fitted_on
from emofuse.store.core.partial import partial_path
from emofuse.store.core.spec import DTYPES, Modality
from emofuse.store.exchange.existing_feature import IMPORTED, Words, continued, standing
from emofuse.store.exchange.feature_metadata import FeatureMetadata
from emofuse.store.exchange.registry import FORMATS, Asked, Bad, ForeignSource
from emofuse.store.exchange.report import Report, join, refuse_duplicates
from emofuse.store.exchange.scan import SourceScan, digest_of, frames_of, survey
from emofuse.store.inspect.describe import has

NOBODY = "nobody"
_WIDER = {"int8": "float32"}
"""What values come back as that an export decodes; int8 is made of a finished feature alone."""


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
    news: tuple[str, ...] = ()
    """What the feature says now, and nobody had said before."""


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
    dtype = DTYPES[job.dtype] if job.dtype else _WIDER.get(source.said.dtype or "", source.said.dtype)
    words = said_in(job, source.said.here(manifest.corpus))
    with Progress(len(source.ids), "reading", "utterances", quiet=quiet) as progress:
        seen = survey(source, report.matched, job.keep_padding, dtype == "float16", progress)
    spec = spec_for(job, source.said, seen, dtype or ("float16" if seen.dtypes == {"float16"} else "float32"), words)
    lengths = {report.matched[id]: n for id, n in seen.lengths.items()}
    news: tuple[str, ...] = ()
    there = standing(job.store, spec)
    if there is not None:
        spec, news = continued(there, words)
        if not news and set(lengths) <= there.held:
            return Imported(report=report, spec=spec, written=0)
    job.store.parent.mkdir(parents=True, exist_ok=True)

    def write() -> int:
        with FeatureWriter(job.store, manifest, spec, lengths) as writer:
            left = set(writer.pending)
            with Progress(len(left), "writing", "utterances", quiet=quiet) as progress:
                for id, array in source.read() if left else ():
                    target = report.matched.get(id)
                    if target is None or target not in left:
                        continue
                    if isinstance(array, Bad) or digest_of(array) != seen.digests[id]:
                        raise DataError(f"{printable(id)} changed while the source was read; import it again")
                    writer.put(target, frames_of(array))
                    progress.advance()
            writer.commit()
        return len(left)

    begun = partial_path(job.store, job.name).exists()
    written = write()
    if news and begun:
        write()  # a part goes on as it was begun; once it is complete, its feature says the news too
    return Imported(report=report, spec=spec, written=written, news=news)


def manifest_for(job: Import, source: ForeignSource) -> Manifest:
    """The manifest whose ids count: the store's, the one named, or one made from the source.

    Raises:
        UsageError: None of them, more than one, or the source says nothing of its utterances.
    """
    options = [name for name, value in (("--manifest", job.manifest), ("--corpus", job.corpus)) if value is not None]
    if job.store.exists():
        if options:
            more = f"; `emofuse store add {job.store} --manifest M.jsonl` tells it of more utterances"
            raise UsageError(
                f"{' and '.join(options)} has no effect: {job.store} exists and has a manifest of its own{more}"
            )
        with FeatureStore(job.store) as store:
            return store.manifest
    if len(options) != 1:
        raise UsageError(
            f"{job.store} does not exist yet: say what its utterances are with --manifest M.jsonl, or, where the "
            "source says it itself, with --corpus NAME" + ("; not with both" if options else "")
        )
    if job.manifest is not None:
        begun, manifest = partial_path(job.store, job.name), read_manifest(job.manifest)
        if not begun.exists():
            return manifest
        with FeatureStore(begun) as part:  # who withdrew from it while it was under way does not come back
            return manifest.merged_into(part.manifest) if part.corpus == manifest.corpus else manifest
    assert job.corpus is not None
    if source.utterances is None:
        raise UsageError("--corpus: the source has nothing but ids, a manifest needs more; give one with --manifest")
    complain(
        [
            f"{printable(u.id)} has no text, which a text feature needs"
            for u in source.utterances
            if not has(u, job.modality) and job.modality == "text"
        ],
        "no manifest can be made from the source",
    )
    utterances = tuple(_with_audio(u) if job.modality == "audio" else u for u in source.utterances)
    told = source.origin
    reader = told.reader if told and told.corpus == job.corpus else f"import-{job.form}-1"
    return Manifest(corpus=job.corpus, reader=reader, utterances=utterances, excluded=told.excluded if told else ())


def _with_audio(u: Utterance) -> Utterance:
    """An utterance that has audio, though the source does not say where: a path that is named by its id."""
    return u if u.audio is not None else replace(u, audio=quote(u.id, safe="").replace(".", "%2E") + ".wav")


def said_in(job: Import, said: FeatureMetadata) -> Words:
    """What is said of the feature now, by the user or the source: what its encoder was fitted on, above all.

    Raises:
        UsageError: They contradict each other.
    """
    own = None if said.fitted_on is None or normal(said.fitted_on) == UNKNOWN else said.fitted_on
    asked = None if job.fitted_on is None else parse_fitted_on(job.fitted_on)
    if asked is not None and own is not None and normal(asked) != normal(own):
        raise UsageError(
            f"--fitted-on {job.fitted_on}: the source itself says {printable(in_words(own), 300)}; "
            "leave the option away"
        )
    said_by = "--fitted-on" if asked is not None else NOBODY if own is None else "the source"
    fitted_on = own if asked is None else asked
    return Words(encoder=job.encoder, frame_rate=job.frame_rate, fitted_on=fitted_on, said_by=said_by)


def spec_for(job: Import, said: FeatureMetadata, seen: SourceScan, dtype: str, words: Words) -> FeatureSpec:
    """The feature that is written."""
    layers = seen.shape[0] if len(seen.shape) == 2 else 0
    view = "mean" if seen.vectors or (said.view == "mean" and set(seen.lengths.values()) == {1}) else "frames"
    rate = job.frame_rate if job.frame_rate is not None else said.frame_rate
    if rate is not None and job.modality == "text":
        raise UsageError("--frame-rate has no meaning for text; leave it away")
    told = said.fingerprint
    return FeatureSpec(
        name=job.name,
        modality=job.modality,
        encoder=job.encoder or said.encoder or IMPORTED,
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
            "fitted_on": UNKNOWN if words.fitted_on is None else words.fitted_on,
            "fitted_on_said_by": words.said_by,
            **({"original_fingerprint": dict(told)} if told else {}),
            **({"fold": dict(said.fold)} if said.fold else {}),
            "emofuse": version("emofuse"),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )  # fmt: skip

"""Resolves an import request: the manifest whose ids count, what is declared of the feature, and its spec."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.output.console import printable
from emofuse.manifests.jsonl import read_manifest
from emofuse.manifests.schema import Manifest, Modality, Utterance
from emofuse.store import FeatureSpec, FeatureStore
from emofuse.store.core.fitted_on import UNKNOWN_FITTED_ON, describe_fitted_on, normalise_fitted_on, parse_fitted_on
from emofuse.store.core.partial import partial_path
from emofuse.store.exchange.arrays import id_as_audio_path
from emofuse.store.exchange.existing_feature import IMPORTED, DeclaredMetadata
from emofuse.store.exchange.feature_metadata import FeatureMetadata
from emofuse.store.exchange.records import ForeignSource
from emofuse.store.exchange.scan import SourceScan
from emofuse.store.inspect.describe import has_modality

UNDECLARED = "nobody"
"""The provenance key `fitted_on_said_by` where neither the user nor the source declares `fitted_on`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """The options of `emofuse store import`."""

    store: Path
    format: str
    """The name of the format."""
    source: Path
    name: str
    """The feature's name in the store."""
    modality: Modality
    manifest: Path | None = None
    """Only for a new store: the manifest file (JSON Lines)."""
    corpus: str | None = None
    """Only for a new store: make its manifest from the source, under this corpus name."""
    frame_rate: float | None = None
    """Hz."""
    dtype: str | None = None
    """fp16, fp32 or bf16; None keeps the type of the source."""
    fitted_on: str | None = None
    encoder: str | None = None
    keep_padding: bool = False


def resolve_manifest(request: ImportRequest, source: ForeignSource) -> Manifest:
    """The manifest to join with: that of the store, the given file, or one made from the source.

    Raises:
        UsageError: None of these, more than one, or the source does not describe its utterances.
    """
    options = [
        name for name, value in (("--manifest", request.manifest), ("--corpus", request.corpus)) if value is not None
    ]
    if request.store.exists():
        if options:
            raise UsageError(
                f"{' and '.join(options)} has no effect: {request.store} exists and already has a manifest; "
                f"`emofuse store add {request.store} --manifest M.jsonl` adds utterances to it"
            )
        with FeatureStore(request.store) as store:
            return store.manifest
    if len(options) != 1:
        raise UsageError(
            f"{request.store} does not exist yet: name its utterances with --manifest M.jsonl or, where the source "
            "describes them itself, with --corpus NAME" + ("; not with both" if options else "")
        )
    if request.manifest is not None:
        return _without_withdrawn(request, read_manifest(request.manifest))
    assert request.corpus is not None
    return _manifest_from_source(request, request.corpus, source)


def _without_withdrawn(request: ImportRequest, manifest: Manifest) -> Manifest:
    """The manifest, without utterances that were withdrawn from the unfinished import of this feature."""
    partial = partial_path(request.store, request.name)
    if not partial.exists():
        return manifest
    with FeatureStore(partial) as store:
        return manifest.merged_into(store.manifest) if store.corpus == manifest.corpus else manifest


def _manifest_from_source(request: ImportRequest, corpus: str, source: ForeignSource) -> Manifest:
    if source.utterances is None:
        raise UsageError("--corpus: the source has only ids, a manifest needs more; give one with --manifest")
    if request.modality == "text":
        raise_problems(
            [
                f"{printable(u.id)} has no text, which a text feature needs"
                for u in source.utterances
                if not has_modality(u, "text")
            ],
            "no manifest can be made from the source",
        )
    utterances = tuple(_with_audio(u) if request.modality == "audio" else u for u in source.utterances)
    origin = source.origin
    reader = origin.reader if origin and origin.corpus == corpus else f"import-{request.format}-1"
    return Manifest(corpus=corpus, reader=reader, utterances=utterances, excluded=origin.excluded if origin else ())


def _with_audio(u: Utterance) -> Utterance:
    """The utterance with an audio path; one made from its id where the source names none."""
    return u if u.audio is not None else replace(u, audio=id_as_audio_path(u.id))


def declared_metadata(request: ImportRequest, metadata: FeatureMetadata) -> DeclaredMetadata:
    """What the user or the source declares about the feature.

    Raises:
        UsageError: They contradict each other about `fitted_on`.
    """
    by_source = metadata.fitted_on
    if by_source is not None and normalise_fitted_on(by_source) == UNKNOWN_FITTED_ON:
        by_source = None
    by_user = None if request.fitted_on is None else parse_fitted_on(request.fitted_on)
    if by_user is not None and by_source is not None and normalise_fitted_on(by_user) != normalise_fitted_on(by_source):
        raise UsageError(
            f"--fitted-on {request.fitted_on}: the source itself says {printable(describe_fitted_on(by_source), 300)}; "
            "omit the option"
        )
    declared_by = "--fitted-on" if by_user is not None else UNDECLARED if by_source is None else "the source"
    fitted_on = by_source if by_user is None else by_user
    return DeclaredMetadata(
        encoder=request.encoder, frame_rate=request.frame_rate, fitted_on=fitted_on, declared_by=declared_by
    )


def build_spec(
    request: ImportRequest, metadata: FeatureMetadata, scan: SourceScan, dtype: str, declared: DeclaredMetadata
) -> FeatureSpec:
    """The spec of the feature to write.

    Raises:
        UsageError: A frame rate for a text feature.
    """
    layers = scan.frame_shape[0] if len(scan.frame_shape) == 2 else 0
    mean = scan.vectors or (metadata.view == "mean" and set(scan.lengths.values()) == {1})
    rate = request.frame_rate if request.frame_rate is not None else metadata.frame_rate
    if rate is not None and request.modality == "text":
        raise UsageError("--frame-rate has no meaning for text; omit it")
    original = metadata.fingerprint
    return FeatureSpec(
        name=request.name,
        modality=request.modality,
        encoder=request.encoder or metadata.encoder or IMPORTED,
        dimension=scan.frame_shape[-1],
        layers=metadata.layers if metadata.layers and len(metadata.layers) == layers else tuple(range(layers)),
        view="mean" if mean else "frames",
        frame_rate=rate,
        dtype=dtype,
        fingerprint={
            "imported_from": request.format,
            "content": scan.content,
            **({"padding": "kept"} if request.keep_padding else {}),
        },
        provenance={
            "source": request.source.resolve().name,
            "fitted_on": UNKNOWN_FITTED_ON if declared.fitted_on is None else declared.fitted_on,
            "fitted_on_said_by": declared.declared_by,
            **({"original_fingerprint": dict(original)} if original else {}),
            **({"fold": dict(metadata.fold)} if metadata.fold else {}),
            "emofuse": version("emofuse"),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )

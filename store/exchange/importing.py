"""Imports a feature from another lab's format into a store: joined by utterance id, checked first, then written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable
from emofuse.common.output.progress import Progress
from emofuse.store import FeatureSpec, FeatureWriter
from emofuse.store.core.partial import partial_path
from emofuse.store.core.spec import DTYPES
from emofuse.store.exchange.existing_feature import find_existing, with_declared
from emofuse.store.exchange.join_report import JoinReport, join, refuse_duplicates
from emofuse.store.exchange.planning import ImportRequest, build_spec, declared_metadata, resolve_manifest
from emofuse.store.exchange.records import FeatureRequest, ForeignSource, Unusable
from emofuse.store.exchange.registry import FORMATS
from emofuse.store.exchange.scan import array_digest, as_frames, scan_source

_DECODED_DTYPE = {"int8": "float32"}
"""The type that an export decodes values to; only a complete feature can be converted to int8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import did."""

    report: JoinReport
    spec: FeatureSpec
    written: int
    """Utterances that were written; 0 where the store already had them all."""
    additions: tuple[str, ...] = ()
    """Metadata that the feature has now and did not have before, as text."""


def import_feature(request: ImportRequest, quiet: bool = False) -> ImportResult:
    """Import one feature.

    Args:
        request: The options of `emofuse store import`.
        quiet: Show no progress bar.

    Raises:
        UsageError: Nothing matches, ids occur twice, arrays cannot be imported, options do not fit, or the store holds
            this feature from another source (the field is named).
        DataError: The source or the store is damaged.
    """
    source, id_key = _open_source(request)
    manifest = resolve_manifest(request, source)
    report = join(source.ids, manifest, request.modality, id_key)
    metadata = source.metadata
    declared = declared_metadata(request, metadata.for_corpus(manifest.corpus))
    dtype = DTYPES[request.dtype] if request.dtype else _DECODED_DTYPE.get(metadata.dtype or "", metadata.dtype)
    with Progress(len(source.ids), "reading", "utterances", quiet=quiet) as progress:
        scan = scan_source(source, report.matched, request.keep_padding, dtype or "float32", progress)
    if not dtype:
        dtype = "float16" if scan.dtypes == {"float16"} else "float32"
    spec = build_spec(request, metadata, scan, dtype, declared)
    lengths = {report.matched[id]: n for id, n in scan.lengths.items()}
    additions: tuple[str, ...] = ()
    existing = find_existing(request.store, spec)
    if existing is not None:
        spec, additions = with_declared(existing, declared)
        if not additions and set(lengths) <= existing.up_to_date:
            return ImportResult(report=report, spec=spec, written=0)
    request.store.parent.mkdir(parents=True, exist_ok=True)
    resumed = partial_path(request.store, request.name).exists()

    def write() -> int:
        with FeatureWriter(request.store, manifest, spec, lengths) as writer:
            written = _write_pending(writer, source, report.matched, scan.digests, quiet)
            writer.commit()
        return written

    written = write()
    if additions and resumed:
        write()  # a partial store keeps the metadata it was started with; the complete feature takes the additions
    return ImportResult(report=report, spec=spec, written=written, additions=additions)


def _open_source(request: ImportRequest) -> tuple[ForeignSource, Callable[[str, str], str]]:
    """Open the source; also returns how its format spells (corpus, id).

    Raises:
        UsageError: An option does not fit, nothing is there, or ids occur twice.
        DataError: The source is damaged.
    """
    form = FORMATS[request.format]
    if request.frame_rate is not None and not 0 < request.frame_rate < 1e6:
        raise UsageError(f"--frame-rate {request.frame_rate}: expected frames per second, more than 0")
    if not request.source.exists() and not request.source.parent.is_dir():
        raise UsageError(f"--source {request.source}: no such file or folder")
    wanted = FeatureRequest(name=request.name, modality=request.modality, keep_padding=request.keep_padding)
    source = form.open(request.source, wanted)
    refuse_duplicates(source.ids)
    return source, form.id_key


def _write_pending(
    writer: FeatureWriter,
    source: ForeignSource,
    matched: Mapping[str, str],
    digests: Mapping[str, str],
    quiet: bool,
) -> int:
    """Write the utterances that the writer still needs.

    Args:
        writer: The open writer.
        source: The source, which is read a second time.
        matched: Id of the source -> id of the manifest.
        digests: Id of the source -> digest of its array in the first pass.
        quiet: Show no progress bar.

    Returns:
        How many utterances were written.

    Raises:
        DataError: The source changed since the first pass.
    """
    pending = set(writer.pending)
    with Progress(len(pending), "writing", "utterances", quiet=quiet) as progress:
        for id, array in source.read() if pending else ():
            target = matched.get(id)
            if target is None or target not in pending:
                continue
            if isinstance(array, Unusable) or array_digest(array) != digests[id]:
                raise DataError(f"{printable(id)} changed while the source was read; import it again")
            writer.put(target, as_frames(array))
            progress.advance()
    return len(pending)

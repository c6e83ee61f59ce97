"""Exports features of a store in another lab's format: written beside the final place, then moved by one rename."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.location import Location
from emofuse.common.output.console import printable
from emofuse.common.output.progress import Progress
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import copy_refusal
from emofuse.store.exchange.feature_metadata import ManifestOrigin, metadata_record
from emofuse.store.exchange.records import ExportJob, Format
from emofuse.store.exchange.registry import FORMATS
from emofuse.store.exchange.splits import assign_splits
from emofuse.store.inspect.describe import has_modality


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export did."""

    written: int
    """Utterances."""
    missing: tuple[str, ...]
    """Utterances that have the modality, but no values of a feature."""
    stale: tuple[str, ...]
    """Utterances whose audio or text has changed since; never exported."""


def export(store: Location, to: str, features: Sequence[str], out: Path, valid: str | None = None,
           test: str | None = None, quiet: bool = False) -> ExportResult:  # fmt: skip
    """Write features of a store in the format `to`.

    Args:
        store: A path or a URL.
        to: The name of the format.
        features: Names of the features.
        out: The folder or file to create, depending on the format; it must not exist yet.
        valid: `KEY=VALUE,...`: the utterances of the valid split, where the corpus has no official split.
        test: The same for the test split.
        quiet: Show no progress bar.

    Raises:
        UsageError: An unknown name, an option that has no effect, `out` exists, or the format cannot hold the features.
        DataError: The store is damaged.
    """
    chosen = FORMATS[to]
    with FeatureStore(store) as opened:
        exported = tuple(opened.feature(name) for name in features)
        raise_problems(
            [*_format_limits(chosen, to, exported), *_option_problems(chosen, to, out, valid, test)],
            f"cannot export to {to}",
        )
        stale = {id for f in exported for id in f.stale}
        expected = [u for u in opened.manifest.utterances if _expected(u, exported)]
        stored = [u for u in expected if all(u.id in f.position for f in exported)]
        utterances = tuple(u for u in stored if u.id not in stale)
        if not utterances:
            raise UsageError(f"{store}: no utterance has {' and '.join(features)} up to date; nothing was written")
        with Progress(len(utterances) * len(exported), f"to {to}", "utterances", quiet=quiet) as progress:
            job = ExportJob(
                origin=ManifestOrigin(
                    corpus=opened.corpus, reader=opened.manifest.reader, excluded=opened.manifest.excluded
                ),
                features=exported,
                utterances=utterances,
                splits=assign_splits(utterances, valid, test) if chosen.needs_splits else {},
                metadata=metadata_record(opened.corpus, exported),
                progress=progress,
            )
            _write_beside(chosen, job, out)
    stored_ids = {u.id for u in stored}
    return ExportResult(
        written=len(utterances),
        missing=tuple(u.id for u in expected if u.id not in stored_ids),
        stale=tuple(u.id for u in stored if u.id in stale),
    )


def _expected(u: Utterance, features: Sequence[Feature]) -> bool:
    """Whether an utterance has, or could have, one of the features."""
    return any(has_modality(u, f.modality) or u.id in f.position for f in features)


def _format_limits(chosen: Format, to: str, features: Sequence[Feature]) -> list[str]:
    """Why the format cannot hold the features."""
    problems = []
    if chosen.write is None:
        problems.append(f"{to} is read-only; `--to parquet` writes what Hugging Face's datasets reads")
    if len(features) != 1 and not chosen.several_features:
        problems.append(f"{to} takes one --feature, got {len(features)}")
    if len({f.name for f in features}) != len(features):
        problems.append("a --feature is named twice")
    if not chosen.takes_layers:
        problems += [f"{to} has no layer axis; {f.name!r} has {len(f.layers)} layers" for f in features if f.layers]
    problems += [f"{copy_refusal(f)}; no format here can mark copies" for f in features if f.is_copy]
    problems += [
        f"feature {printable(f.name)!r} is not complete; run `extract` again" for f in features if not f.complete
    ]
    return problems


def _option_problems(chosen: Format, to: str, out: Path, valid: str | None, test: str | None) -> list[str]:
    """Options that have no effect on the format, and an `out` that exists."""
    problems = []
    if not chosen.needs_splits:
        options = (("--valid", valid), ("--test", test))
        problems += [f"{option} has no effect on {to}" for option, value in options if value is not None]
    if out.exists() and not (chosen.writes_folder and out.is_dir() and not any(out.iterdir())):
        problems.append(f"--out {out} exists; name another place or remove it")
    return problems


def _write_beside(chosen: Format, job: ExportJob, out: Path) -> None:
    """Let the format write into a new folder beside `out`, and rename the result to `out` once it is complete.

    What a killed export left there is removed first.

    Raises:
        UsageError: Another process is exporting to `out`.
    """
    assert chosen.write is not None
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.exporting")
    refusal = f"another process is exporting to {out} ({{holder}}); wait for it or stop it"
    with lock(scratch.with_name(f"{scratch.name}.lock"), refusal):
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir()
            unfinished = scratch if chosen.writes_folder else scratch / out.name
            chosen.write(job, unfinished)
            unfinished.replace(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

"""lhotse's manifests in JSON Lines; the first record of a file tells which kind it is."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable
from emofuse.store.exchange.arrays import is_inside

SUFFIXES = (".jsonl", ".jsonl.gz")
LONGEST_LINE = 4 << 20
"""Characters."""
LhotseRecord = Mapping[str, Any]
REQUIRED = {
    "features": ("num_frames", "num_features", "frame_shift", "sampling_rate", "start", "duration", "storage_type",
                 "storage_path", "storage_key"),
    "supervisions": ("id", "recording_id", "start", "duration"),
    "cuts": ("id", "start", "duration"),
}  # fmt: skip
NUMBERS = ("num_frames", "num_features", "frame_shift", "sampling_rate", "start", "duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class LhotseManifests:
    """The manifests of a folder."""

    root: Path
    """Values outside of this folder are never read."""
    features: list[LhotseRecord]
    """Empty where cuts have features: they are the same ones."""
    cuts: list[LhotseRecord]
    """Those with features."""
    supervisions: list[LhotseRecord]


def read_manifests(path: Path) -> LhotseManifests:
    """Read all manifests of a folder, or one manifest and the supervisions beside it.

    Raises:
        UsageError: Nothing there, links out of the folder, or cuts of several recordings.
        DataError: A manifest is damaged.
    """
    root, files = _manifest_files(path)
    records: dict[str, list[LhotseRecord]] = {"features": [], "cuts": [], "supervisions": []}
    for file in files:
        kind = _kind(file)
        # In a folder every manifest counts; beside one manifest only supervisions, which say whose its features are.
        if kind is not None and (path.is_dir() or file == path or kind == "supervisions"):
            records[kind] += [_checked(record, kind, file) for record in _records(file)]
    cuts = [c for c in records["cuts"] if c.get("features")]
    for cut in cuts:
        if cut.get("type", "MonoCut") != "MonoCut":
            raise UsageError(
                f"cut {str(cut['id'])!r} is a {cut['type']}; only cuts of one recording (MonoCut) are supported"
            )
        _checked(cut["features"], "features", path)
    supervisions = records["supervisions"] + [
        _checked(s, "supervisions", path) for c in cuts for s in c.get("supervisions") or []
    ]
    features = [] if cuts else records["features"]
    return LhotseManifests(root=root, features=features, cuts=cuts, supervisions=supervisions)


def _manifest_files(path: Path) -> tuple[Path, list[Path]]:
    """The folder of the manifests, and their files, sorted.

    Raises:
        UsageError: Nothing there, or links out of the folder.
    """
    root = path if path.is_dir() else path.parent
    files = sorted(p for p in (root.rglob if path.is_dir() else root.glob)("*.jsonl*") if p.name.endswith(SUFFIXES))
    if not path.is_dir() and path not in files:
        raise UsageError(
            f"--source {path}: name a folder, or a manifest in .jsonl or .jsonl.gz (lhotse copy makes one)"
        )
    if not files:
        raise UsageError(f"--source {path}: no .jsonl or .jsonl.gz manifest in that folder")
    leaving = [printable(p.name) for p in files if not is_inside(root, p)]
    if leaving:
        raise UsageError(f"--source {path}: links out of the folder are not followed: {', '.join(leaving[:20])}")
    return root, files


def _kind(file: Path) -> str | None:
    """`features`, `cuts` or `supervisions`, by the first record; None for any other kind."""
    record = next(_records(file), None)
    if record is None:
        return None
    if "storage_type" in record:
        return "features"
    if str(record.get("type", "")).endswith("Cut") or "supervisions" in record:
        return "cuts"
    return "supervisions" if "recording_id" in record and "duration" in record else None


def _records(file: Path) -> Iterator[LhotseRecord]:
    """The rows of a manifest.

    Raises:
        DataError: A row is not a JSON object, or the file is damaged.
    """
    opener = gzip.open if file.name.endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            # a few bytes of gzip may expand to an endless line
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE + 1), ""), 1):
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{file.name}, line {number}: longer than any lhotse record")
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise DataError(f"{file.name}, line {number}: expected a JSON object")
                    yield record
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error, RecursionError) as error:
        raise DataError(f"{file.name} is damaged or not a lhotse manifest: {printable(str(error), 200)}") from None


def _checked(record: Any, kind: str, file: Path) -> LhotseRecord:
    """A record that has the keys its kind requires.

    Raises:
        DataError: A key is missing, or a number is invalid.
    """
    if not isinstance(record, dict):
        raise DataError(f"{file.name}: a record of {kind} is not a JSON object")
    missing = [key for key in REQUIRED[kind] if key not in record]
    invalid = [key for key in NUMBERS if key in record and not _is_valid_number(record[key])]
    if missing or invalid:
        problems = [
            *(f"has no {key}" for key in missing),
            *(f"{key} is {printable(str(record[key]), 30)}" for key in invalid),
        ]
        raise DataError(f"{file.name}: a record of {kind}: {', '.join(problems)}")
    return record


def _is_valid_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12

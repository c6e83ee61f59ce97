"""lhotse's manifests in JSON Lines, told apart by their first record."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.store.exchange.arrays import inside

SUFFIXES = (".jsonl", ".jsonl.gz")
LONGEST = 4 << 20
"""Characters of a line."""
Record = Mapping[str, Any]
NEEDED = {
    "features": ("num_frames", "num_features", "frame_shift", "sampling_rate", "start", "duration", "storage_type",
                 "storage_path", "storage_key"),
    "supervisions": ("id", "recording_id", "start", "duration"),
    "cuts": ("id", "start", "duration"),
}  # fmt: skip
NUMBERS = ("num_frames", "num_features", "frame_shift", "sampling_rate", "start", "duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What lies in a folder."""

    root: Path
    """No value is read from outside of it."""
    features: list[Record]
    """Empty where cuts have features: they are the same ones."""
    cuts: list[Record]
    """Those with features."""
    supervisions: list[Record]


def manifests_of(path: Path) -> Manifests:
    """Read the manifests of a folder, or one manifest and the supervisions beside it.

    Raises:
        UsageError: Nothing there, or links out of the folder.
        DataError: A manifest is damaged.
    """
    root = path if path.is_dir() else path.parent
    files = sorted(p for p in (root.rglob if path.is_dir() else root.glob)("*.jsonl*") if p.name.endswith(SUFFIXES))
    if not path.is_dir() and path not in files:
        raise UsageError(
            f"--source {path}: name a folder, or a manifest in .jsonl or .jsonl.gz (lhotse copy makes one)"
        )
    if not files:
        raise UsageError(f"--source {path}: no .jsonl or .jsonl.gz manifest in that folder")
    leaving = [printable(p.name) for p in files if not inside(root, p)]
    if leaving:
        raise UsageError(f"--source {path}: links out of the folder are not followed: {', '.join(leaving[:20])}")
    found: dict[str, list[Record]] = {"features": [], "cuts": [], "supervisions": []}
    for file in files:
        kind = _kind(file)
        # Of a folder everything counts; beside one manifest only what says whose its features are.
        if kind is not None and (path.is_dir() or file == path or kind == "supervisions"):
            found[kind] += [_checked(record, kind, file) for record in _records(file)]
    cuts = [c for c in found["cuts"] if c.get("features")]
    for cut in cuts:
        if cut.get("type", "MonoCut") != "MonoCut":
            raise UsageError(
                f"cut {str(cut['id'])!r} is a {cut['type']}; only cuts of one recording (MonoCut) are read"
            )
        _checked(cut["features"], "features", path)
    supervisions = found["supervisions"] + [
        _checked(s, "supervisions", path) for c in cuts for s in c.get("supervisions") or []
    ]
    return Manifests(root=root, features=[] if cuts else found["features"], cuts=cuts, supervisions=supervisions)


def _kind(file: Path) -> str | None:
    record = next(_records(file), None)
    if record is None:
        return None
    if "storage_type" in record:
        return "features"
    if str(record.get("type", "")).endswith("Cut") or "supervisions" in record:
        return "cuts"
    return "supervisions" if "recording_id" in record and "duration" in record else None


def _records(file: Path) -> Iterator[Record]:
    """The rows of a manifest.

    Raises:
        DataError: A row is no JSON object.
    """
    opener = gzip.open if file.name.endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            # a few bytes of gzip may unfold to a line without end
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST + 1), ""), 1):
                if len(line) > LONGEST:
                    raise DataError(f"{file.name}, line {number}: longer than any record of lhotse")
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise DataError(f"{file.name}, line {number}: a JSON object was expected")
                    yield record
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error, RecursionError) as error:
        raise DataError(f"{file.name} is damaged or no manifest of lhotse: {printable(str(error), 200)}") from None


def _checked(record: Any, kind: str, file: Path) -> Record:
    """A record that has what its kind needs."""
    if not isinstance(record, dict):
        raise DataError(f"{file.name}: a record of {kind} is no JSON object")
    absent = [key for key in NEEDED[kind] if key not in record]
    wrong = [key for key in NUMBERS if key in record and (
        isinstance(record[key], bool) or not isinstance(record[key], int | float) or not 0 <= record[key] < 1e12
    )]  # fmt: skip
    if absent or wrong:
        what = [*(f"lacks {k}" for k in absent), *(f"{k} is {printable(str(record[k]), 30)}" for k in wrong)]
        raise DataError(f"{file.name}: a record of {kind} {', '.join(what)}")
    return record

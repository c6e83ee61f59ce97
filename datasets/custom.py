"""Your own corpus: a CSV or JSON Lines manifest that names audio files, texts, or both.

Columns (keys) are the fields of an utterance: id, and audio or text; optionally start, end, label, speaker, session,
dialogue, turn, split. Other columns are kept as extra annotation. A manifest written by emofuse can be read as well.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError, raise_problems
from emofuse.datasets.base import Corpus, ReaderOptions, build_manifest
from emofuse.datasets.reading.tables import MISSING, read_table, text_lines
from emofuse.manifests.jsonl import parse_record, read_manifest
from emofuse.manifests.schema import Manifest, Utterance, utterance_problems

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
DEFAULT_NAMES = ("manifest.csv", "manifest.jsonl")
_FIELDS = {f.name for f in fields(Utterance)}
Row = tuple[int, dict[str, Any]]
"""A row's number in its file, and its values."""
# Only decoding the audio yields these: they are never taken from a user's file.
_MEASURED = {"seconds", "audio_digest"}


def default_manifest(root: Path) -> Path | None:
    """The manifest in a root that was given without `--manifest`."""
    return next((root / name for name in DEFAULT_NAMES if (root / name).is_file()), None)


def read(root: Path, options: ReaderOptions) -> Manifest:
    """The rows of the manifest, in its order.

    Raises:
        UsageError: The manifest is missing or wrong; lists every mistake with its row.
    """
    path = options.manifest or default_manifest(root)
    if path is None or not path.is_file():
        raise UsageError(
            f"no manifest {path or root / DEFAULT_NAMES[0]}; pass --manifest FILE, a CSV or JSON Lines file"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--manifest {path} has an unknown file type; valid: {', '.join(SUFFIXES)}")
    if path.suffix.lower() in (".csv", ".tsv"):
        return _from_rows(root, path, *_csv(path))
    rows = _json_lines(path)
    if rows and "emofuse-manifest" in rows[0][1]:
        written = read_manifest(path)
        return build_manifest("custom", _reader(root), root, written.utterances, written.excluded)
    return _from_rows(root, path, rows)


def _reader(root: Path) -> str:
    """Includes the folder, so that two corpora that are both `custom` are not merged into one store unnoticed."""
    return f"custom-1 of {root.resolve().name}"


def _csv(path: Path) -> tuple[list[Row], list[str]]:
    """The rows, and notes on how the file was read."""
    table = read_table(path, ("id",))
    # An empty cell means None, except in a text column in use: there an empty text is excluded later, and listed.
    in_use = any(row.get("text", "").strip() not in ("", *MISSING) for _, row in table.rows)
    keep_empty = {"text"} if in_use else set()
    rows = []
    for number, row in table.rows:
        cells = {k: "" if k != "id" and v.strip() in MISSING else v.strip() for k, v in row.items()}
        if table.delimiter == ";":  # where semicolons separate columns, a comma may be the decimal point
            cells |= {k: cells[k].replace(",", ".") for k in ("start", "end") if k in cells}
        rows.append((number, {k: v for k, v in cells.items() if v or k in keep_empty}))
    return rows, [*table.notes, *_missing_notes(table.rows)]


def _missing_notes(rows: Sequence[tuple[int, Mapping[str, str]]]) -> list[str]:
    """How many cells hold what a data frame writes for a missing value."""
    counts = Counter(k for _, row in rows for k, v in row.items() if k != "id" and v.strip() in MISSING)
    if not counts:
        return []
    return [f"cells such as nan and None are missing values: {', '.join(f'{k} {n}' for k, n in counts.items())}"]


def _label_notes(utterances: Sequence[Utterance]) -> list[str]:
    """The labels that differ only in case or blanks."""
    spellings: dict[str, Counter[str]] = {}
    for u in utterances:
        if u.label is not None:
            spellings.setdefault(" ".join(u.label.casefold().split()), Counter())[u.label] += 1
    pairs = [
        ", ".join(f"{label!r} {n}" for label, n in found.items()) for found in spellings.values() if len(found) > 1
    ]
    if not pairs:
        return []
    return [f"labels that differ only in case or blanks are different labels, each with its count: {'; '.join(pairs)}"]


def _json_lines(path: Path) -> list[Row]:
    rows, problems = [], []
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"row {number} is not JSON: {error}")
            continue
        if isinstance(row, dict):
            rows.append((number, {k: v for k, v in row.items() if k == "id" or not _is_missing(v)}))
        else:
            problems.append(f"row {number} holds {type(row).__name__}, expected an object")
    raise_problems(problems, f"{path} cannot be read; one JSON object per line is expected")
    return rows


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and value in MISSING)
    )


def _from_rows(root: Path, path: Path, rows: Sequence[Row], notes: Sequence[str] = ()) -> Manifest:
    problems: list[str] = []
    utterances: list[Utterance] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        row_problems: list[str] = []
        utterance = _utterance(row, root, row_problems)
        if utterance is not None and (first := seen.setdefault(utterance.id, number)) != number:
            row_problems.append(f"id {utterance.id!r} is already used by row {first}")
        problems += [f"row {number}: {problem}" for problem in row_problems]
        if utterance is not None:
            utterances.append(utterance)
    raise_problems(problems, f"{path} has mistakes")
    if not utterances:
        raise UsageError(f"{path} lists no utterance")
    return build_manifest("custom", _reader(root), root, utterances, notes=[*notes, *_label_notes(utterances)])


def _utterance(row: Mapping[str, Any], root: Path, problems: list[str]) -> Utterance | None:
    """The utterance of a row; None where the row is wrong. What is wrong is appended to `problems`."""
    known = {k: str(v) if k == "id" else v for k, v in row.items() if k in _FIELDS - _MEASURED}
    extra = {k: v if isinstance(v, int | float) else str(v) for k, v in row.items() if k not in _FIELDS}
    if not known.get("id"):
        problems.append("has no id")
        return None
    utterance = parse_record(Utterance, known, problems)
    if utterance is None:
        return None
    utterance = replace(utterance, audio=_relative_audio(utterance.audio, root), extra={**utterance.extra, **extra})
    problems += utterance_problems([utterance])
    return utterance


def _relative_audio(audio: str | None, root: Path) -> str | None:
    """An absolute path below the root made relative to it; any other path unchanged."""
    if audio is None or not Path(audio).is_absolute():
        return audio
    path = Path(audio)
    return path.relative_to(root.absolute()).as_posix() if path.is_relative_to(root.absolute()) else audio


CUSTOM = Corpus(
    name="custom",
    description="Your own audio and texts, listed in a CSV or JSON Lines file (--manifest FILE)",
    page="the format is described in docs/custom.md",
    layout="manifest.csv or manifest.jsonl (or pass --manifest FILE)",
    looks_like=lambda root: default_manifest(root) is not None,
    read=read,
    options=("manifest",),
)

"""Your own corpus: a CSV or JSON Lines manifest that names audio files, texts, or both.

Columns (keys) are the fields of an utterance: id, and audio or text; optionally start, end, label, speaker, session,
dialogue, turn, split. Other columns are kept as extra annotation. A manifest written by emofuse can be read as well,
and so can an audformat database and a Hugging Face dataset saved to disk.
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
from emofuse.datasets.reading.audformat_database import is_database, read_database
from emofuse.datasets.reading.column_names import ColumnNames, require_content, texts
from emofuse.datasets.reading.huggingface_dataset import is_saved_dataset, read_dataset
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
    """The manifest in a root that was given without `--manifest`, or the root itself where it is one."""
    manifest = next((root / name for name in DEFAULT_NAMES if (root / name).is_file()), None)
    return root if manifest is None and (is_database(root) or is_saved_dataset(root)) else manifest


def read(root: Path, options: ReaderOptions) -> Manifest:
    """The rows of the manifest, in its order.

    Raises:
        UsageError: The manifest is missing or wrong; lists every mistake with its row.
    """
    path = options.manifest or default_manifest(root)
    if path is None or not path.exists():
        raise UsageError(
            f"no manifest {path or root / DEFAULT_NAMES[0]}; pass --manifest FILE, a CSV or JSON Lines file"
        )
    names = ColumnNames.parse(options.columns)
    if is_database(path):
        return _from_rows(root, path, *_numbered(*read_database(path, names, options.tables)))
    if options.tables is not None:
        raise UsageError(f"--tables has no effect: {path} is not an audformat database")
    if is_saved_dataset(path):
        return _from_rows(root, path, *_numbered(*read_dataset(path, root, names)))
    if path.is_dir():
        raise UsageError(f"--manifest {path} is a folder, but neither an audformat database nor a saved dataset")
    return _from_file(root, path, names)


def _numbered(rows: Sequence[dict[str, Any]], notes: Sequence[str]) -> tuple[list[Row], Sequence[str]]:
    return [(number, texts(row)) for number, row in enumerate(rows, 1)], notes


def _from_file(root: Path, path: Path, names: ColumnNames) -> Manifest:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--manifest {path} has an unknown file type; valid: {', '.join(SUFFIXES)}")
    if path.suffix.lower() in (".csv", ".tsv"):
        return _from_rows(root, path, *_csv(path, names))
    rows = _json_lines(path)
    if rows and "emofuse-manifest" in rows[0][1]:
        written = read_manifest(path)
        return build_manifest("custom", _reader(root), root, written.utterances, written.excluded)
    names.recognised(list(dict.fromkeys(key for _, row in rows for key in row)), str(path))
    return _from_rows(root, path, [(number, names.renamed(row)) for number, row in rows])


def _reader(root: Path) -> str:
    """Includes the folder, so that two corpora that are both `custom` are not merged into one store unnoticed."""
    return f"custom-1 of {root.resolve().name}"


def _csv(path: Path, names: ColumnNames) -> tuple[list[Row], list[str]]:
    """The rows, and notes on how the file was read."""
    required = dict.fromkeys((names.of("id"), *names.given.values()))
    table = read_table(path, required, "; columns with other names: --columns id=COLUMN,label=COLUMN,...")
    table = replace(table, rows=[(number, names.renamed(row)) for number, row in table.rows])
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
    if columns := dict.fromkeys(key for _, row in rows for key in row):
        require_content(columns, columns, str(path))
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
    description="Your own audio and texts: a CSV or JSON Lines file, an audformat database, a Hugging Face dataset",
    page="the format: `emofuse help custom`",
    layout="manifest.csv, manifest.jsonl, an audformat database or a saved dataset (or pass --manifest PATH)",
    looks_like=lambda root: default_manifest(root) is not None,
    read=read,
    options=("manifest", "columns", "tables"),
)

"""Your own corpus: a CSV or JSON Lines manifest that names audio files, texts, or both.

Columns (keys) are the fields of an utterance: id, and audio or text; optionally start, end, label, speaker, session,
dialogue, turn, split. Other columns are kept as extra annotation. A manifest written by emofuse can be read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError, raise_problems
from emofuse.datasets.base import Corpus, ReaderOptions, build_manifest, csv_rows, text_lines
from emofuse.manifests.jsonl import parse_record, read_manifest
from emofuse.manifests.schema import Manifest, Utterance, utterance_problems

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
DEFAULT_NAMES = ("manifest.csv", "manifest.jsonl")
_FIELDS = {f.name for f in fields(Utterance)}
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
        return _from_rows(root, path, _csv(path))
    rows = _json_lines(path)
    if rows and "emofuse-manifest" in rows[0][1]:
        written = read_manifest(path)
        return build_manifest("custom", _reader(root), root, written.utterances, written.excluded)
    return _from_rows(root, path, rows)


def _reader(root: Path) -> str:
    """Includes the folder, so that two corpora that are both `custom` are not merged into one store unnoticed."""
    return f"custom-1 of {root.resolve().name}"


def _csv(path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = csv_rows(path, ("id",))
    # An empty cell means None, except in a text column in use: there an empty text is excluded later, and listed.
    keep_empty = {"text"} if any(row.get("text", "").strip() for _, row in rows) else set()
    return [(number, {k: v.strip() for k, v in row.items() if v.strip() or k in keep_empty}) for number, row in rows]


def _json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
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
            rows.append((number, {k: v for k, v in row.items() if v is not None}))
        else:
            problems.append(f"row {number} holds {type(row).__name__}, expected an object")
    raise_problems(problems, f"{path} cannot be read; one JSON object per line is expected")
    return rows


def _from_rows(root: Path, path: Path, rows: list[tuple[int, dict[str, Any]]]) -> Manifest:
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
    return build_manifest("custom", _reader(root), root, utterances)


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

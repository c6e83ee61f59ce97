"""Manifest files: written atomically, and read with every mistake reported.

JSON Lines: a header row (corpus, reader version, counts), then one row per utterance, then one per excluded item.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from emofuse.common.disk.files import write_atomically
from emofuse.common.errors import UsageError, raise_problems
from emofuse.manifests.schema import Excluded, Manifest, Utterance, json_line, to_record

SCHEMA_VERSION = 1


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as JSON Lines, atomically."""
    header = {
        "emofuse-manifest": SCHEMA_VERSION,
        "corpus": manifest.corpus,
        "reader": manifest.reader,
        "utterances": len(manifest.utterances),
        "excluded": len(manifest.excluded),
    }
    rows = [to_record(u) for u in manifest.utterances] + [{"excluded": True, **to_record(e)} for e in manifest.excluded]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json_line(r) + "\n" for r in [header, *rows]).encode())


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        UsageError: The file is missing, is not a manifest, has a newer version, or has wrong rows (all are listed).
    """
    rows = _json_rows(path)
    header = rows.pop(0) if rows else {}
    _check_header(path, header)
    problems: list[str] = []
    utterances = [parse_record(Utterance, r, problems) for r in rows if not r.get("excluded")]
    excluded_rows = [{k: v for k, v in r.items() if k != "excluded"} for r in rows if r.get("excluded")]
    excluded = [parse_record(Excluded, r, problems) for r in excluded_rows]
    raise_problems(problems, f"{path} has wrong rows")
    manifest = Manifest(
        corpus=str(header.get("corpus")),
        reader=str(header.get("reader")),
        utterances=tuple(u for u in utterances if u),
        excluded=tuple(e for e in excluded if e),
    )
    counts = (len(manifest.utterances), len(manifest.excluded))
    declared = (header.get("utterances"), header.get("excluded"))
    if counts != declared:
        raise UsageError(
            f"{path} declares {declared} utterances and excluded items but holds {counts}: it was cut or edited"
        )
    return manifest


def _json_rows(path: Path) -> list[dict[str, Any]]:
    """The JSON object of each line."""
    if not path.is_file():
        raise UsageError(f"no manifest at {path}")
    try:
        # not splitlines(): a text may contain line separators other than \n
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError also for a number of 5000 digits
            raise UsageError(f"{path}:{number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number} holds {type(row).__name__}, expected one JSON object per line")
        rows.append(row)
    return rows


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    version = header.get("emofuse-manifest")
    if version is None:
        raise UsageError(f"{path} has no header row; a manifest's first line names corpus, reader and counts")
    if not isinstance(version, int):
        raise UsageError(f"{path} has manifest version {version!r}, expected a number")
    if version > SCHEMA_VERSION:
        raise UsageError(f"{path} has manifest version {version}, newer than {SCHEMA_VERSION}: update emofuse")
    for key in ("corpus", "reader"):
        value = str(header.get(key))
        if any("\ud800" <= c <= "\udfff" for c in value):  # half a surrogate pair
            raise UsageError(f"{path} has {key} {value!r:.200}, expected text")


def _whole(value: Any) -> int:
    """A whole number, also as `2.0`, which a data frame writes where a column has gaps.

    Raises:
        ValueError: It is no whole number.
    """
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\.0*\s*", value):
        value = value.partition(".")[0]
    return int(value)


T = TypeVar("T", Utterance, Excluded)
_CASTS: dict[str, Callable[[Any], Any]] = {"start": float, "end": float, "seconds": float, "turn": _whole}


def parse_record(kind: type[T], record: Mapping[str, Any], problems: list[str]) -> T | None:
    """Build an utterance or excluded item from untrusted values.

    Args:
        kind: `Utterance` or `Excluded`.
        record: The values by field name.
        problems: A line is appended for a wrong record.

    Returns:
        The item; None for a wrong record.
    """
    known = {f.name for f in fields(kind)}
    where = str(record.get("id", "row without id"))
    unknown = sorted(set(record) - known)
    if unknown:
        problems.append(f"{where}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return None
    values: dict[str, Any] = {}
    for key, value in record.items():
        try:
            values[key] = _parse_value(key, value)
        except (TypeError, ValueError, OverflowError):
            problems.append(f"{where}: {key} is {value!r:.200}")
            return None
    if "id" not in values or (kind is Excluded and "reason" not in values):
        problems.append(f"{where}: incomplete row")
        return None
    return kind(**values)


def _parse_value(key: str, value: Any) -> Any:
    """The value of one field.

    Raises:
        TypeError, ValueError, OverflowError: It is of a wrong type, or holds half a surrogate pair, which no file can.
    """
    if key == "extra":
        if not isinstance(value, Mapping):
            raise TypeError
        parsed: Any = {str(k): v if isinstance(v, int | float) else str(v) for k, v in value.items()}
    elif key in _CASTS:
        parsed = _CASTS[key](value)
    elif isinstance(value, str):
        parsed = value
    else:
        raise TypeError
    json.dumps(value, ensure_ascii=False).encode()
    return parsed

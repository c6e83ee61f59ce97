"""A manifest as a file, written whole, read with every mistake named.

JSON Lines: one header row (corpus, reader version, counts), then one row per utterance, then one per excluded item.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from emofuse.common.disk.files import put
from emofuse.common.errors import UsageError, complain
from emofuse.manifests.schema import Excluded, Manifest, Utterance, line_of, record_of

SCHEMA_VERSION = 1


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as JSON Lines; the file appears whole or not at all."""
    header = {
        "emofuse-manifest": SCHEMA_VERSION,
        "corpus": manifest.corpus,
        "reader": manifest.reader,
        "utterances": len(manifest.utterances),
        "excluded": len(manifest.excluded),
    }
    rows = [record_of(u) for u in manifest.utterances] + [{"excluded": True, **record_of(e)} for e in manifest.excluded]
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, "".join(line_of(r) + "\n" for r in [header, *rows]).encode())


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        UsageError: The file is absent, is no manifest, is too new, or its rows are wrong (all named).
    """
    if not path.is_file():
        raise UsageError(f"no manifest at {path}")
    rows: list[dict[str, Any]] = []
    try:
        # not splitlines(): a text may hold line separators other than \n
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # also a number of 5000 digits
            raise UsageError(f"{path}:{number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number} holds {type(row).__name__}, expected one JSON object per line")
        rows.append(row)
    header = rows.pop(0) if rows else {}
    version = header.get("emofuse-manifest")
    if version is None:
        raise UsageError(f"{path} has no header row; a manifest's first line names corpus, reader and counts")
    if not isinstance(version, int):
        raise UsageError(f"{path} has manifest version {version!r}, expected a number")
    if version > SCHEMA_VERSION:
        raise UsageError(f"{path} has manifest version {version}, newer than {SCHEMA_VERSION}: update emofuse")
    for key in ("corpus", "reader"):
        said = str(header.get(key))
        if any("\ud800" <= c <= "\udfff" for c in said):  # half a character
            raise UsageError(f"{path} has {key} {said!r:.200}, expected text")
    problems: list[str] = []
    utterances = [parse(Utterance, r, problems) for r in rows if not r.get("excluded")]
    excluded = [
        parse(Excluded, {k: v for k, v in r.items() if k != "excluded"}, problems) for r in rows if r.get("excluded")
    ]
    complain(problems, f"{path} has wrong rows")
    manifest = Manifest(
        corpus=str(header.get("corpus")),
        reader=str(header.get("reader")),
        utterances=tuple(u for u in utterances if u),
        excluded=tuple(e for e in excluded if e),
    )
    found = (len(manifest.utterances), len(manifest.excluded))
    declared = (header.get("utterances"), header.get("excluded"))
    if found != declared:
        raise UsageError(
            f"{path} declares {declared} utterances and excluded items but holds {found}: it was cut or edited"
        )
    return manifest


T = TypeVar("T", Utterance, Excluded)
_CASTS: dict[str, Callable[[Any], Any]] = {"start": float, "end": float, "seconds": float, "turn": int}


def parse(kind: type[T], record: Mapping[str, Any], problems: list[str]) -> T | None:
    """Build a record from untrusted values; what is wrong with it is appended to `problems`."""
    known = {f.name for f in fields(kind)}
    where = str(record.get("id", "row without id"))
    unknown = sorted(set(record) - known)
    if unknown:
        problems.append(f"{where}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return None
    values: dict[str, Any] = {}
    for key, value in record.items():
        try:
            if key == "extra":
                if not isinstance(value, Mapping):
                    raise TypeError
                values[key] = {str(k): v if isinstance(v, int | float) else str(v) for k, v in value.items()}
            elif key in _CASTS:
                values[key] = _CASTS[key](value)
            elif isinstance(value, str):
                values[key] = value
            else:
                raise TypeError
            json.dumps(value, ensure_ascii=False).encode()
        except (TypeError, ValueError, OverflowError):  # half a surrogate pair among them, which no file can hold
            problems.append(f"{where}: {key} is {value!r:.200}")
            return None
    if "id" not in values or (kind is Excluded and "reason" not in values):
        problems.append(f"{where}: incomplete row")
        return None
    return kind(**values)

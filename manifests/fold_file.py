"""Folds from a file: `[folds] file = "PATH"` in a protocol, with the utterances of every side by name.

Two forms are read. A folder of EmoBox, `data/NAME`, has `fold_1/NAME_train_fold_1.jsonl`, `NAME_test_fold_1.jsonl` and
for some sets `NAME_valid_fold_1.jsonl`; its keys are matched with ids by `emobox_keys.loose_key`. A CSV or JSON Lines
file has the columns id, fold and side (train, validation, test); without a side, each utterance is tested by its fold
and trained on by the others.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.output.console import plural
from emofuse.manifests.names.emobox_keys import loose_key
from emofuse.manifests.names.spellings import natural_key

SIDES = ("train", "validation", "test")
_EMOBOX_SIDES = {"train": "train", "validation": "valid", "test": "test"}
_DELIMITERS = (",", ";", "\t")
_SHOWN = 3
"""How many names a message lists."""
Rows = list[tuple[str, str, str]]
"""Fold, side and name of each entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFold:
    """One fold of a file: the names on each side."""

    name: str
    train: frozenset[str]
    validation: frozenset[str]
    """Empty where the file has no validation side."""
    test: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldFile:
    """The folds of a file."""

    name: str
    """The last part of its path, for messages."""
    emobox: str | None
    """The EmoBox set whose keys the file has; None where its names are the ids of the store."""
    folds: tuple[FileFold, ...]
    groups: Mapping[str, str]
    """Name -> the fold that tests it; `validation` or `train` where none does."""
    digest: str
    """32 hex digits that change with any name, side or fold."""

    def key(self, id: str) -> str:
        """The name in the file that an id of the store matches."""
        return id if self.emobox is None else loose_key(self.emobox, id)

    def group_of(self, id: str) -> str | None:
        """The fold that tests an utterance, `validation` or `train`; None where the file does not have it."""
        return self.groups.get(self.key(id))


def read_fold_file(source: str, folder: Path) -> FoldFile:
    """Read the folds of `[folds] file`.

    Args:
        source: The path as the protocol gives it, with `~` and `$VARIABLES`.
        folder: The folder of the protocol's file, which a relative path starts from.

    Raises:
        UsageError: A variable is not set, the file is missing, or it has mistakes (all are listed).
    """
    expanded = os.path.expandvars(source)
    if unset := re.findall(r"\$\{?(\w+)", expanded):
        hint = "; EMOBOX is the folder of a clone of https://github.com/emo-box/EmoBox" if "EMOBOX" in unset else ""
        raise UsageError(f"[folds] file = {source!r}: the variable {' and '.join(unset)} is not set{hint}")
    path = folder / Path(expanded).expanduser()
    if not path.exists():
        raise UsageError(f"[folds] file = {source!r}: {path} does not exist")
    emobox, rows = _emobox_rows(path) if path.is_dir() else (None, _table_rows(path))
    return _fold_file(path, emobox, rows)


def _fold_file(path: Path, emobox: str | None, rows: Rows) -> FoldFile:
    names = [(fold, side, name if emobox is None else loose_key(emobox, name)) for fold, side, name in rows]
    problems = _name_problems(names)
    raise_problems(problems, f"the folds of {path} cannot be used")
    members: dict[str, dict[str, set[str]]] = {}
    for fold, side, name in names:
        members.setdefault(fold, {s: set() for s in SIDES})[side].add(name)
    folds = tuple(
        FileFold(name=fold, **{side: frozenset(of_side) for side, of_side in members[fold].items()})
        for fold in sorted(members, key=natural_key)
    )
    groups: dict[str, str] = {}
    for group in ("train", "validation"):
        groups |= {name: group for fold in folds for name in getattr(fold, group)}
    groups |= {name: fold.name for fold in folds for name in fold.test}
    digest = xxhash.xxh3_128_hexdigest("\n".join(map("\t".join, sorted(names))).encode())
    return FoldFile(name=path.name, emobox=emobox, folds=folds, groups=groups, digest=digest)


def _name_problems(names: Rows) -> list[str]:
    """Names on two sides of a fold or tested twice, and folds without a training or test side."""
    problems = []
    for fold in dict.fromkeys(fold for fold, _, _ in names):
        present = {side for of, side, _ in names if of == fold}
        problems += [f"fold {fold} has no {side} side" for side in ("train", "test") if side not in present]
        twice = [name for name, n in Counter(name for of, _, name in names if of == fold).items() if n > 1]
        if twice:
            problems.append(f"fold {fold} has {listed(twice)} on two sides or more than once")
    tested = Counter(name for _, side, name in names if side == "test")
    if twice := [name for name, n in tested.items() if n > 1]:
        problems.append(f"{listed(twice)} are tested by more than one fold; each utterance is tested once")
    return problems


def listed(names: Iterable[str], noun: str = "name") -> str:
    """The number of names and the first ones: `2 utterances (a, b)`."""
    every = list(names)
    return f"{plural(len(every), noun)} ({', '.join(every[:_SHOWN])}{', ...' if len(every) > _SHOWN else ''})"


# EmoBox


def _emobox_rows(path: Path) -> tuple[str, Rows]:
    """The set's name, and its rows."""
    folders = {m[1]: p for p in path.iterdir() if p.is_dir() and (m := re.fullmatch(r"fold_(\w+)", p.name))}
    if not folders:
        raise UsageError(f"{path} is not a set of EmoBox: it has no fold_1, ...; give EmoBox/data/NAME or a file")
    rows: Rows = []
    problems: list[str] = []
    for fold, folder in folders.items():
        for side, word in _EMOBOX_SIDES.items():
            file = folder / f"{path.name}_{word}_fold_{fold}.jsonl"
            if file.is_file():
                rows += [(fold, side, str(row["key"])) for row in _json_rows(file, ("key",), problems)]
            elif side != "validation":
                problems.append(f"no file {file}")
    raise_problems(problems, f"the folds of {path} cannot be read")
    return path.name, rows


# One file


def _table_rows(path: Path) -> Rows:
    problems: list[str] = []
    if path.suffix.lower() in (".jsonl", ".json"):
        found = _json_rows(path, ("id", "fold"), problems)
    elif path.suffix.lower() == ".csv":
        found = _csv_rows(path, problems)
    else:
        raise UsageError(f"{path} has an unknown file type; valid: .csv, .jsonl, or a folder EmoBox/data/NAME")
    raise_problems(problems, f"{path} cannot be read")
    if not found:
        raise UsageError(f"{path} lists no utterance; expected rows with id, fold, and side")
    problems += [f"row {row['row']} has no {key}" for row in found for key in ("id", "fold") if row[key] in (None, "")]
    sided = "side" in found[0]
    wrong = Counter(str(row.get("side")) for row in found if sided and row.get("side") not in SIDES)
    unknown = [f"side {side!r} of {n} rows; valid: {', '.join(SIDES)}" for side, n in wrong.items()]
    repeated = [] if sided else [str(id) for id, n in Counter(row["id"] for row in found).items() if n > 1]
    problems += [f"{listed(repeated)} in more than one row"] if repeated else []
    raise_problems(problems + unknown, f"{path} has mistakes")
    if sided:
        return [(str(row["fold"]), str(row["side"]), str(row["id"])) for row in found]
    folds = dict.fromkeys(str(row["fold"]) for row in found)
    return [(fold, "test" if fold == str(row["fold"]) else "train", str(row["id"])) for row in found for fold in folds]


def _csv_rows(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The rows of a table with the columns id and fold, and their numbers; what is wrong is added to `problems`."""
    lines = _text(path).splitlines()
    headers = {delimiter: next(csv.reader(lines[:1], delimiter=delimiter), []) for delimiter in _DELIMITERS}
    delimiter = next((d for d, header in headers.items() if {"id", "fold"} <= {*header}), ",")
    header = headers[delimiter]
    missing = [column for column in ("id", "fold") if column not in header]
    if missing:
        problems.append(f"no column {' and '.join(missing)}; expected: id, fold, and side; found: {', '.join(header)}")
        return []
    rows = []
    for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
        if number == 1 or not cells:
            continue
        if len(cells) != len(header):
            problems.append(f"row {number} has {plural(len(cells), 'cell')}, the header {len(header)}")
        else:
            rows.append({**dict(zip(header, map(str.strip, cells), strict=True)), "row": number})
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8: save it as CSV UTF-8 or JSON Lines in UTF-8") from None


def _json_rows(path: Path, keys: tuple[str, ...], problems: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file that have the keys, and their rows; what is wrong is added to `problems`."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{path}, row {number} is not JSON: {error}")
            continue
        if isinstance(row, dict) and all(key in row for key in keys):
            rows.append({**row, "row": number})
        else:
            problems.append(f"{path}, row {number} has no {' and no '.join(keys)}")
    return rows

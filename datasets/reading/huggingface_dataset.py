"""Hugging Face datasets that were saved to a folder (`save_to_disk`) as rows of a corpus.

Audio that is embedded in the dataset is written as files once, below the root, so that clips can be scanned and
played; nothing is decoded here. A file is named by the digest of its bytes: the same command finds it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import xxhash

from emofuse.common.disk.files import refuse_unwritable, write_atomically
from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UsageError
from emofuse.common.optional import optional_library
from emofuse.common.output.console import plural, printable, warn
from emofuse.datasets.reading.column_names import SPLITS, ColumnNames, require_content

MARKS = ("dataset_dict.json", "state.json")
CLIPS = "emofuse-clips"
"""The folder below the root that embedded audio is written to."""
BATCH = 64
LOCK_SECONDS = 3600.0
_MP3 = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
"""With tags, and the usual first bytes of a file without: MPEG 1 and 2, layer III."""
_SUFFIXES = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", **dict.fromkeys(_MP3, ".mp3")}


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset that `save_to_disk` wrote."""
    return any((folder / name).is_file() for name in MARKS)


def read_dataset(folder: Path, root: Path, names: ColumnNames) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of all splits, in their order.

    Args:
        folder: The dataset.
        root: The folder that audio paths are relative to; embedded audio is written to `emofuse-clips` in it.
        names: The columns that are fields of an utterance; others are recognised by their usual names.

    Returns:
        One row per row of the dataset, and notes.

    Raises:
        UsageError: The package is not installed, a column is missing, or the root is not writable.
        DataError: The dataset is damaged.
    """
    datasets = optional_library("datasets", "exchange", f"the dataset {folder}")
    arrow = optional_library("pyarrow", "exchange", f"the dataset {folder}")
    damages = (arrow.ArrowException, KeyError, TypeError, ValueError)
    try:
        splits = {
            split: datasets.load_from_disk(str(part)) for split, part in _parts(folder).items() if not _is_empty(part)
        }
    except (*damages, OSError) as error:
        raise DataError(f"the dataset {folder} is damaged: {printable(str(error), 300)}") from None
    if not splits:
        raise UsageError(f"the dataset {folder} has no rows")
    try:
        with ExitStack() as held:
            clips = _Clips(root / CLIPS, held)
            reader = _Reader(datasets, next(iter(splits.values())).features, clips, names, folder)
            rows = [row for split, part in splits.items() for row in reader.rows(split, part)]
    except damages as error:
        raise DataError(f"the dataset {folder} is damaged: {printable(str(error), 300)}") from None
    _name_rows(rows)
    return rows, reader.notes() + clips.notes()


def _parts(folder: Path) -> dict[str, Path]:
    """Split -> the folder that it was saved to; one dataset is a split without a name."""
    listed = folder / MARKS[0]
    if not listed.is_file():
        return {"": folder}
    return {str(split): folder / str(split) for split in json.loads(listed.read_bytes())["splits"]}


def _is_empty(part: Path) -> bool:
    """Whether a dataset without rows was saved; the package `datasets` writes it and fails to read it."""
    return not json.loads((part / MARKS[1]).read_bytes())["_data_files"]


class _Clips:
    """The folder of the embedded clips; the first write takes its lock, which is kept until all are written.

    Args:
        folder: The folder; created when there is a clip to write.
        held: Releases the lock.
    """

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder, self._held = folder, held
        self._embedded, self._written, self._locked = 0, 0, False

    def path_of(self, data: bytes, path: str | None) -> str:
        """The path, relative to the root, of the file with these bytes; it is written if it is not there."""
        self._embedded += 1
        clip = self._folder / f"{xxhash.xxh3_128_hexdigest(data)}{_suffix(data, path)}"
        if not _is_complete(clip, data):
            self._lock()
            if not _is_complete(clip, data):  # another process may have written it meanwhile
                write_atomically(clip, data)
                self._written += 1
        return f"{CLIPS}/{clip.name}"

    def notes(self) -> list[str]:
        """How many clips there are, and how many were written."""
        if not self._embedded:
            return []
        return [f"{plural(self._embedded, 'embedded clip')} in {self._folder}, {self._written} of them written now"]

    def _lock(self) -> None:
        if self._locked:
            return
        file = self._folder / ".lock"
        refuse_unwritable(file)
        warn(f"note: writing embedded clips to {self._folder}")
        # the shards of a job array read the corpus at the same time
        self._held.enter_context(lock(file, f"{self._folder} is being written by {{holder}}", wait=LOCK_SECONDS))
        self._locked = True


def _is_complete(clip: Path, data: bytes) -> bool:
    return clip.is_file() and clip.stat().st_size == len(data)


class _Reader:
    """Turns the rows of one dataset into rows of a corpus."""

    def __init__(
        self, datasets: Any, features: Mapping[str, Any], clips: _Clips, names: ColumnNames, folder: Path
    ) -> None:
        self._classes = {k: v.names for k, v in features.items() if isinstance(v, datasets.ClassLabel)}
        audio = [k for k, v in features.items() if isinstance(v, datasets.Audio)]
        self._fields = names.recognised(list(features), f"the dataset {folder}")
        if "audio" not in names.given and len(audio) > 1:
            raise UsageError(
                f"the dataset {folder} has several columns of audio: pass --columns audio=COLUMN; {', '.join(audio)}"
            )
        if audio and "audio" not in names.given:
            self._fields["audio"] = audio[0]
        if "label" not in self._fields and len(self._classes) == 1:
            self._fields["label"] = next(iter(self._classes))
        require_content(self._fields, features, f"the dataset {folder}")
        self._columns = list(features)
        self._clips = clips

    def rows(self, split: str, part: Any) -> Iterator[dict[str, Any]]:
        """The rows of a split."""
        number = 0
        for table in part.with_format("arrow").iter(batch_size=BATCH):
            for values in table.to_pylist():
                named = {"split": SPLITS.get(split, split)} if split else {}
                yield {**named, **self._row(values), "_number": (split, number)}
                number += 1

    def notes(self) -> list[str]:
        """Which columns were taken."""
        taken = (name if name == column else f"{name}={column}" for name, column in self._fields.items())
        columns = ", ".join(self._columns)
        return [f"columns taken: {', '.join(taken) or 'none'}; others: --columns FIELD=COLUMN, of {columns}"]

    def _row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        named = {column: name for name, column in self._fields.items()}
        row = {}
        for column, value in values.items():
            if column in self._fields and column not in named:
                continue  # another column was named for this field
            if column in self._classes and value is not None:
                value = None if value < 0 else self._classes[column][value]  # -1: no label, as in hidden test sets
            name = named.get(column, column)
            if name == "audio":
                value = self._clip(value)
            if isinstance(value, str | int | float):
                row[name] = value
        return row

    def _clip(self, value: Any) -> str | None:
        """The path of a clip; embedded bytes are written to a file."""
        if isinstance(value, str) or value is None:
            return value
        if isinstance(value, bytes):
            return self._clips.path_of(value, None)
        if not (isinstance(value, Mapping) and {"bytes", "path"} & set(value)):
            column = self._fields["audio"]
            raise UsageError(
                f"the column {column} is no audio: expected paths, or the type Audio; in Python, "
                f"dataset.cast_column({column!r}, datasets.Audio()), or name another column: --columns audio=COLUMN"
            )
        data, path = value.get("bytes"), value.get("path")
        return self._clips.path_of(data, path) if data is not None else None if path is None else str(path)


def _suffix(data: bytes, path: str | None) -> str:
    suffix = Path(path).suffix.lower() if path else ""
    usual = suffix[1:].isalnum() and len(suffix) <= 6
    return suffix if usual else next((s for start, s in _SUFFIXES.items() if data.startswith(start)), "")


def _name_rows(rows: list[dict[str, Any]]) -> None:
    """Give every row an id where the dataset has none: its split and number."""
    for row in rows:
        split, number = row.pop("_number")
        row.setdefault("id", f"{split}_{number:06d}".lstrip("_"))

"""Untrusted `.npy` and text files: a header's claims are checked against the file size before anything is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError, raise_problems
from emofuse.common.output.console import printable
from emofuse.store.exchange.records import NUMERIC_KINDS, Unusable

SAFE_CHARACTERS = "-_.~+=@, ()[]#"
"""Allowed in a file name besides letters and digits; everything else becomes %XX."""

_LONGEST_NAME = 255
"""Bytes of a file name, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NpyHeader:
    """The header of a `.npy` file, checked against the file's size."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int
    """Bytes before the values."""


def read_header(path: Path) -> NpyHeader | Unusable:
    """The header of a `.npy` file, or what is wrong with the file."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                return Unusable(reason=f"{path.name} has .npy version {version}; only 1.0 and 2.0 are supported")
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        first_line = str(error).splitlines()[0][:120]
        return Unusable(reason=f"{path.name} is not a .npy file, or is damaged: {first_line}", damaged=True)
    if dtype.hasobject:
        return Unusable(
            reason=f"{path.name} holds Python objects (dtype object), which are never loaded; save plain numbers"
        )
    if dtype.kind not in NUMERIC_KINDS or dtype.names or dtype.shape:
        return Unusable(reason=f"{path.name} holds {dtype}, not plain numbers")
    claimed = offset + math.prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or claimed != size:
        reason = f"{path.name} has {size} bytes, but its header claims {shape}, {claimed} bytes"
        return Unusable(reason=reason, damaged=True)
    return NpyHeader(shape=shape, dtype=dtype, fortran=fortran, offset=offset)


def read_array(path: Path) -> NDArray[Any] | Unusable:
    """The array of a `.npy` file, or what is wrong with it."""
    header = read_header(path)
    if isinstance(header, Unusable):
        return header
    with path.open("rb") as file:
        file.seek(header.offset)
        flat = np.fromfile(file, header.dtype, math.prod(header.shape))
    if len(flat) != math.prod(header.shape):
        return Unusable(reason=f"{path.name} became shorter while it was read", damaged=True)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def is_inside(root: Path, path: Path) -> bool:
    """Whether `path` is a plain file below `root`, also after every symbolic link has been followed."""
    resolved = path.resolve()
    return resolved.is_relative_to(root.resolve()) and resolved.is_file()


def npy_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every `.npy` file below `root`, sorted: its relative path without the suffix, with forward slashes, and the file.

    Raises:
        UsageError: No such folder, no such file in it, or links that leave the folder (all named).
    """
    if not root.is_dir():
        raise UsageError(f"--source {root}: no such folder; name the folder that holds the .npy files")
    files: list[Path] = []
    links: list[Path] = []
    for folder, folder_names, file_names in os.walk(root):
        here = Path(folder)
        links += [here / name for name in folder_names if (here / name).is_symlink()]
        for name in file_names:
            if name.endswith(".npy"):
                (files if is_inside(root, here / name) else links).append(here / name)
    if links:
        names = ", ".join(printable(p.relative_to(root).as_posix()) for p in sorted(links)[:20])
        raise UsageError(f"--source {root}: links to folders, or out of the folder, are not followed: {names}")
    if not files:
        raise UsageError(f"--source {root}: no .npy file below that folder")
    yield from ((path.relative_to(root).as_posix().removesuffix(".npy"), path) for path in sorted(files))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one `.npy` file, and create its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def id_as_file_name(id: str) -> str:
    """An id as a file name: no slash, no control character, never hidden, never `.` or `..`; `unquote` undoes it."""
    name = quote(id, safe=SAFE_CHARACTERS)
    return f"%2E{name[1:]}" if name.startswith(".") else name


def refuse_as_file_names(names: Mapping[str, str]) -> None:
    """Refuse ids whose `.npy` files no file system takes.

    Args:
        names: Id -> the path of its file in a folder, without the suffix.

    Raises:
        UsageError: Names up to 20 of the ids.
    """
    raise_problems(
        [
            f"{printable(id, 80)!r} gives a file name that is too long, hidden or outside of the folder"
            for id, name in names.items()
            if any(p.startswith(".") or not p or len(p.encode()) > _LONGEST_NAME - 4 for p in name.split("/"))
        ],
        "these ids cannot be file names; --to parquet takes any id",
    )


def id_as_audio_path(id: str) -> str:
    """A stand-in for the audio path of an utterance whose source names none."""
    return quote(id, safe="").replace(".", "%2E") + ".wav"


def read_text(path: Path) -> str:
    """A small text file.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text") from None

"""`.npy` files from strangers: what the header claims is held against the file before anything is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.store.exchange.registry import Bad

NUMERIC = "fiu"
"""The kinds of numpy type that are numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a `.npy` file says of itself, checked against its size."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


def read_header(path: Path) -> Header | Bad:
    """The header of a `.npy` file, or what is wrong with the file."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                return Bad(why=f"{path.name} has .npy version {version}; versions 1.0 and 2.0 are read")
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        return Bad(why=f"{path.name} is no .npy file or damaged: {str(error).splitlines()[0][:120]}", damaged=True)
    if dtype.hasobject:
        return Bad(why=f"{path.name} holds Python objects (dtype object), which are never loaded; save plain numbers")
    if dtype.kind not in NUMERIC or dtype.names or dtype.shape:
        return Bad(why=f"{path.name} holds {dtype}, not plain numbers")
    claimed = offset + math.prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or claimed != size:
        return Bad(why=f"{path.name} has {size} bytes, but its header claims {shape}, {claimed} bytes", damaged=True)
    return Header(shape=shape, dtype=dtype, fortran=fortran, offset=offset)


def read_array(path: Path) -> NDArray[Any] | Bad:
    """The array of a `.npy` file, or what is wrong with it."""
    header = read_header(path)
    if isinstance(header, Bad):
        return header
    with path.open("rb") as file:
        file.seek(header.offset)
        flat = np.fromfile(file, header.dtype, math.prod(header.shape))
    if len(flat) != math.prod(header.shape):
        return Bad(why=f"{path.name} became shorter while it was read", damaged=True)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def inside(root: Path, path: Path) -> bool:
    """Whether `path` is a plain file below `root`, also after every link has been followed."""
    resolved = path.resolve()
    return resolved.is_relative_to(root.resolve()) and resolved.is_file()


def npy_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every `.npy` below `root`, sorted: its path without the suffix, with forward slashes, and the file.

    Raises:
        UsageError: No such folder, no such file in it, or links that leave the folder (all named).
    """
    if not root.is_dir():
        raise UsageError(f"--source {root}: no such folder; name the folder that holds the .npy files")
    found: list[Path] = []
    leaving: list[Path] = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        leaving += [here / name for name in folders if (here / name).is_symlink()]
        for name in files:
            if name.endswith(".npy"):
                (found if inside(root, here / name) else leaving).append(here / name)
    if leaving:
        listed = ", ".join(printable(p.relative_to(root).as_posix()) for p in sorted(leaving)[:20])
        raise UsageError(f"--source {root}: links to folders, or out of the folder, are not followed: {listed}")
    if not found:
        raise UsageError(f"--source {root}: no .npy file below that folder")
    yield from ((path.relative_to(root).as_posix().removesuffix(".npy"), path) for path in sorted(found))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one `.npy` file; its folder is made where absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def text_of(path: Path) -> str:
    """A small text file.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text in UTF-8") from None

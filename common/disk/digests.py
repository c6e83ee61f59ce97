"""Digests of the files of a folder, in its `digests.json`: they name what was altered, lost or added since.

A digest is xxh3-128 of a file's bytes, as in stores. It detects accidents and careless edits, not forgery: whoever
edits a file can write its digest again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import xxhash

from emofuse.common.disk.run_folder import read_json, write_json
from emofuse.common.errors import DataError

NAME, ALGORITHM = "digests.json", "xxh3-128"
_BLOCK = 1 << 20
_TEMPORARY = (".part", ".lock", ".held")


def digest_of(path: Path) -> str:
    """The digest of a file.

    Raises:
        OSError: The file cannot be read.
    """
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """The digest of a file with this content."""
    return xxhash.xxh3_128_hexdigest(content)


def files_in(folder: Path) -> list[str]:
    """The files below a folder that its digests cover, as sorted relative paths; no hidden and no temporary ones."""
    paths = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(_TEMPORARY))
    names = (p.relative_to(folder) for p in paths)
    return sorted(n.as_posix() for n in names if n.as_posix() != NAME and not any(p.startswith(".") for p in n.parts))


def write_digest_file(folder: Path, digests: Mapping[str, str]) -> None:
    """Write `digests.json`: relative path -> digest."""
    write_json(folder / NAME, {"algorithm": ALGORITHM, "files": dict(sorted(digests.items()))})


def read_digests(folder: Path) -> dict[str, str] | None:
    """The content of a folder's `digests.json`: relative path -> digest; None if it has no such file.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return None
    content = read_json(path, ("algorithm", "files"))
    files = content["files"]
    if content["algorithm"] != ALGORITHM or not isinstance(files, dict):
        raise DataError(f"{path} is damaged: expected {ALGORITHM} digests of files")
    for name, digest in files.items():
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        if not isinstance(digest, str) or not inside or "\0" in name:
            raise DataError(f"{path} is damaged: {name[:100]!r} is not a file of the folder with a digest")
    return files


def altered_files(folder: Path, digests: Mapping[str, str], names: Iterable[str] | None = None) -> list[str]:
    """What is wrong with the files that `digests` lists, such as `metrics.json was altered`.

    Args:
        folder: The folder of the files.
        digests: Relative path -> digest.
        names: Only these files; by default all.
    """
    problems = []
    for name in digests if names is None else names:
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif digest_of(path) != digests[name]:
            problems.append(f"{name} was altered")
    return problems

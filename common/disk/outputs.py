"""Files and folders that a user names for what a command writes: checked before any work, written at its end."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.disk.files import make_folder, refuse_unwritable, write_atomically
from emofuse.common.disk.run_folder import refuse_inside_run
from emofuse.common.errors import UsageError


def refuse_as_file(out: Path, example: str, option: str = "--out") -> None:
    """Refuse a path that no file can be written to.

    Args:
        out: What the user named.
        example: A name for the file.
        option: That it was named with.

    Raises:
        UsageError: It is a folder, cannot be written, or is inside a finished run.
    """
    if out.is_dir():
        raise UsageError(f"{option} {out} is a folder: pass a file, such as {out / example}")
    refuse_unwritable(out)
    refuse_inside_run(out)


def refuse_as_folder(out: Path, format: str) -> None:
    """Refuse a path that no folder of files can be at.

    Args:
        out: What the user named with --out.
        format: Of the files.

    Raises:
        UsageError: It is a file, cannot be written, or is a finished run or inside one.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file, expected a folder for the {format} files: pass another --out")
    refuse_unwritable(out / "part")
    refuse_inside_run(out / "part")


def write_output(path: Path, content: bytes) -> None:
    """Write a file atomically; folders on the way to it are created.

    Raises:
        UsageError: A folder cannot be created.
    """
    make_folder(path.parent)
    write_atomically(path, content)

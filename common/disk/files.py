"""Small files that appear whole or not at all, and folders that a power cut does not take away again."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from emofuse.common.errors import UsageError


def put(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all, power cut or not; a full disk is an `OSError` that names it."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        error.filename = str(path)
        raise


def behind_link(path: Path) -> Path:
    """The file that a symbolic link leads to: whoever replaces the link would leave the file as it was."""
    return path.resolve() if path.is_symlink() else path


def take_mode(path: Path, fresh: Path) -> None:
    """Give a new file the permissions, and where that is allowed the group, of the one whose place it takes."""
    if path.exists():
        held = path.stat()
        with contextlib.suppress(PermissionError):
            os.chown(fresh, -1, held.st_gid)
        fresh.chmod(stat.S_IMODE(held.st_mode))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each pushed to the disk: what is synced later shall be found by its path.

    Raises:
        UsageError: It cannot be.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except (FileExistsError, FileNotFoundError) as error:  # a file lies there, or nothing can (/proc)
        raise UsageError(f"{folder} cannot be a folder ({error.strerror}): name another place") from None
    sync_folder(folder.parent)


def refuse_unwritable(path: Path) -> None:
    """Refuse a file that cannot be made, before any work is done for it.

    Raises:
        UsageError: Its folder, or the one above that it would be made in, is none or must not be written into.
    """
    folder = next(above for above in behind_link(path).absolute().parents if above.exists())
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: {folder} is a file; name another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: nothing may be written into {folder}; name another place")


def sync_folder(folder: Path) -> None:
    """Push renames in `folder` to the disk, so that none is lost that a later deletion relies on."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)

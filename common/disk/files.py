"""Atomic writes of small files, and folders that survive a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from emofuse.common.errors import UsageError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears completely or not at all, even after a power cut.

    Raises:
        OSError: For example a full disk; names `path`.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        error.filename = str(path)
        raise


def resolve_link(path: Path) -> Path:
    """The target of a symbolic link, or the path itself: replacing the link would leave its target unchanged."""
    return path.resolve() if path.is_symlink() else path


def copy_permissions(path: Path, fresh: Path) -> None:
    """Give the file `fresh` the permissions, and where allowed the group, of the file at `path` that it replaces."""
    if path.exists():
        status = path.stat()
        with contextlib.suppress(PermissionError, AttributeError):  # Windows has no groups
            os.chown(fresh, -1, status.st_gid)
        fresh.chmod(stat.S_IMODE(status.st_mode))


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each synced to the disk, so that files synced later can be found by path.

    Raises:
        UsageError: The folder cannot be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except (FileExistsError, FileNotFoundError) as error:  # a file has this name, or the place takes none (/proc)
        raise UsageError(f"{folder} cannot be a folder ({error.strerror}): choose another path") from None
    sync_folder(folder.parent)


def refuse_unwritable(path: Path) -> None:
    """Refuse a path at which no file can be created, before any work is done for it.

    Raises:
        UsageError: Its folder, or the nearest existing one above, is a file or not writable.
    """
    folder = next(above for above in resolve_link(path).absolute().parents if above.exists())
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: {folder} is a file; choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: {folder} is not writable; choose another path")


def sync_folder(folder: Path) -> None:
    """Sync renames in `folder` to the disk, before a deletion that relies on them; Windows opens no folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)

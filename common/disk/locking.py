"""Lock files, which the operating system releases when their process ends, however it ends.

On a file system without locks (some cluster mounts), a substitute file names the holder. It is taken over from an ended
process of this host; whether a process of another host has ended cannot be known.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

from emofuse.common.disk.files import make_folder
from emofuse.common.disk.positioned import pread, pwrite
from emofuse.common.errors import DISK_FULL, UsageError
from emofuse.common.output.console import printable

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ModuleNotFoundError:  # every other system
    msvcrt = None  # type: ignore[assignment]

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
RETRY_SECONDS = 0.2
_LOCKED_BYTE = 1 << 30
"""The byte that Windows locks: far beyond the holder's name, which other processes read."""


@dataclass(slots=True)
class Lock:
    """A lock held by this process; also a context manager."""

    path: Path
    descriptor: int
    substitute: Path | None = None
    """The file that replaces the lock where the file system has none."""

    def release(self, *, remove: bool = False) -> None:
        """Release the lock; `remove` deletes the lock file first, which is safe while it is held."""
        if self.descriptor < 0:
            return
        if remove and fcntl is not None:
            self.path.unlink(missing_ok=True)
        if self.substitute:
            self.substitute.unlink(missing_ok=True)
        os.close(self.descriptor)
        self.descriptor = -1
        if remove and fcntl is None:  # Windows deletes no open file, nor one that another process has opened meanwhile
            with contextlib.suppress(PermissionError):
                self.path.unlink(missing_ok=True)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(remove=True)


def lock(path: Path, refusal: str, *, wait: float = 0.0) -> Lock:
    """Acquire the lock file `path` and write into it who holds it, and since when.

    Args:
        path: The lock file; created when it is missing.
        refusal: The message when another process holds it, with `{holder}` in it.
        wait: How long to wait for another process, in seconds.

    Raises:
        UsageError: Another process holds it.
    """
    make_folder(path.parent)
    # At least one retry: `lock_holder` takes the lock for an instant.
    deadline = time.monotonic() + max(wait, RETRY_SECONDS)
    while True:
        result = _try_lock(path)
        if isinstance(result, Lock):
            return result
        if time.monotonic() >= deadline:
            raise UsageError(refusal.replace("{holder}", result or "unknown"))
        time.sleep(RETRY_SECONDS)


def lock_holder(path: Path) -> str | None:
    """A text that names the process that holds the lock file `path`; None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        _lock_file(descriptor, shared=True)
    except BlockingIOError:
        return _holder_text(descriptor) or "unknown"
    except OSError:
        substitute = _substitute_path(path)
        return _holder_text(descriptor) if substitute.exists() and not _has_ended(substitute) else None
    finally:
        os.close(descriptor)
    return None


def _lock_file(descriptor: int, *, shared: bool = False) -> None:
    """Lock an open file without waiting; the system releases the lock when the process ends.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: The file system, or the system, has no locks (`UNSUPPORTED`).
    """
    if fcntl is not None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    elif msvcrt is not None:
        _lock_on_windows(msvcrt, descriptor)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _lock_on_windows(locks: ModuleType, descriptor: int) -> None:
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        locks.locking(descriptor, locks.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None


def _try_lock(path: Path) -> Lock | str:
    """The lock, or a text that names its holder."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError as error:
        raise UsageError(f"no file can be written in {path.parent} ({error.strerror}): choose another path") from None
    substitute = None
    try:
        _lock_file(descriptor)
    except BlockingIOError:
        holder = _holder_text(descriptor)
        os.close(descriptor)
        return holder
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            os.close(descriptor)
            raise
        substitute = _substitute_path(path)
        if not _take_substitute(substitute):
            holder = f"{_holder_text(descriptor)}; if it has ended, delete {substitute}"
            os.close(descriptor)
            return holder
    acquired = Lock(path, descriptor, substitute)
    # Between opening and locking, the holder may have ended and deleted the file: then the lock protects nothing.
    if not _is_at(descriptor, path):
        acquired.release()
        return _try_lock(path)
    _write_holder(acquired)
    return acquired


def _write_holder(acquired: Lock) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        os.ftruncate(acquired.descriptor, 0)
        pwrite(acquired.descriptor, f"host {platform.node()}, process {os.getpid()}, since {since}".encode(), 0)
    except OSError as error:
        # The lock works without this text, and renaming a finished file needs no space.
        if error.errno not in DISK_FULL:
            acquired.release(remove=True)
            raise


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder_text(descriptor: int) -> str:
    return printable(pread(descriptor, 200, 0).decode(errors="replace").strip())


def _substitute_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def _take_substitute(substitute: Path) -> bool:
    """Create `substitute`, also in place of one whose process has ended; False where another process has it."""
    for _ in range(2):
        try:
            descriptor = os.open(substitute, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            if not _has_ended(substitute):
                return False
            _remove_ended(substitute)
            continue
        try:
            os.write(descriptor, f"{platform.node()} {os.getpid()} {_start_time(os.getpid())}".encode())
        except OSError:
            substitute.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return True
    return False


def _remove_ended(substitute: Path) -> None:
    """Remove the substitute file of an ended process; of two processes that try, only one renames it."""
    aside = substitute.with_name(f"{substitute.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        substitute.rename(aside)
        if not _has_ended(aside):  # another process has just taken it over: give it back
            os.link(aside, substitute)
        aside.unlink()


def _has_ended(substitute: Path) -> bool:
    """Whether the process that created `substitute` ran on this host and has ended."""
    try:
        host, process, start = substitute.read_text().split(" ", 2)
        return host == platform.node() and _start_time(int(process)) != start
    except (OSError, ValueError):
        return False


def _start_time(process: int) -> str:
    """When a process started, where the system tells: it distinguishes the process from a later one of its number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    if os.name == "nt":  # where this signal would end the process
        return "alive"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "ended"
    except PermissionError:
        pass
    return "alive"

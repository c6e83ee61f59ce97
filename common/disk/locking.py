"""One holder at a time: locks that the operating system frees when their process ends, however it ends.

Where the file system has no such locks (some cluster mounts), a file that names its holder stands in: it is taken over
from a process of this host that has ended; of another host's, nobody here can know.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from emofuse.common.console import printable
from emofuse.common.disk.files import make_folder
from emofuse.common.errors import FULL, UsageError

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
AGAIN_SECONDS = 0.2


@dataclass(slots=True)
class Lock:
    """A lock that is held; also a context manager."""

    path: Path
    descriptor: int
    stand_in: Path | None = None

    def release(self, *, remove: bool = False) -> None:
        """Let go; `remove` takes the lock file away, which is safe while it is held."""
        if self.descriptor < 0:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        if self.stand_in:
            self.stand_in.unlink(missing_ok=True)
        os.close(self.descriptor)
        self.descriptor = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(remove=True)


def lock(path: Path, refusal: str, *, wait: float = 0.0) -> Lock:
    """Hold the lock file `path` and write into it who holds it, and since when.

    Args:
        path: The lock file; made where it is absent.
        refusal: What to say when another process holds it, with `{holder}` in it.
        wait: Seconds to wait for another holder.

    Raises:
        UsageError: Another process holds it.
    """
    make_folder(path.parent)
    # Not at once: whoever asks `holder` has the lock for an instant.
    until = time.monotonic() + max(wait, AGAIN_SECONDS)
    while True:
        held = _attempt(path)
        if isinstance(held, Lock):
            return held
        if time.monotonic() >= until:
            raise UsageError(refusal.replace("{holder}", held or "unknown"))
        time.sleep(AGAIN_SECONDS)


def holder(path: Path) -> str | None:
    """Who holds the lock file `path` now, in words; none: nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _said(descriptor) or "unknown"
    except OSError:
        stand_in = _stand_in(path)
        return _said(descriptor) if stand_in.exists() and not _ended(stand_in) else None
    finally:
        os.close(descriptor)
    return None


def _attempt(path: Path) -> Lock | str:
    """The lock, or who has it."""
    try:
        descriptor, stand_in = os.open(path, os.O_RDWR | os.O_CREAT, 0o644), None
    except FileNotFoundError as error:
        raise UsageError(f"no file can be written in {path.parent} ({error.strerror}): name another place") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said = _said(descriptor)
        os.close(descriptor)
        return said
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            os.close(descriptor)
            raise
        stand_in = _stand_in(path)
        if not _taken(stand_in):
            said = f"{_said(descriptor)}; if it has ended, delete {stand_in}"
            os.close(descriptor)
            return said
    # Between opening and locking, the holder may have ended and unlinked the file: then the lock holds nothing.
    if not _is_at(descriptor, path):
        Lock(path, descriptor, stand_in).release()
        return _attempt(path)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"host {os.uname().nodename}, process {os.getpid()}, since {since}".encode(), 0)
    except OSError as error:
        # The lock holds without the words, and renaming a finished file needs no room.
        if error.errno not in FULL:
            Lock(path, descriptor, stand_in).release(remove=True)
            raise
    return Lock(path, descriptor, stand_in)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _said(descriptor: int) -> str:
    return printable(os.pread(descriptor, 200, 0).decode(errors="replace").strip())


def _stand_in(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def _taken(stand_in: Path) -> bool:
    """Whether this process now holds `stand_in`, made by nobody else or left by a process that has ended."""
    for _ in range(2):
        try:
            descriptor = os.open(stand_in, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            if not _ended(stand_in):
                return False
            aside = stand_in.with_name(f"{stand_in.name}.{os.getpid()}")
            with contextlib.suppress(FileNotFoundError):  # of two that find it dead, one renames it
                stand_in.rename(aside)
                if not _ended(aside):  # another one has just taken it over: give it back
                    os.link(aside, stand_in)
                aside.unlink()
            continue
        try:
            os.write(descriptor, f"{os.uname().nodename} {os.getpid()} {_birth(os.getpid())}".encode())
        except OSError:
            stand_in.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return True
    return False


def _ended(stand_in: Path) -> bool:
    """Whether the process that made `stand_in` was one of this host and is no more."""
    try:
        host, process, birth = stand_in.read_text().split(" ", 2)
        return host == os.uname().nodename and _birth(int(process)) != birth
    except (OSError, ValueError):
        return False


def _birth(process: int) -> str:
    """What tells a process from a later one with its number: when it started, where the system says so."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "ended"
    except PermissionError:
        pass
    return "alive"

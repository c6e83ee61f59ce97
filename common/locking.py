"""One holder at a time: locks that the operating system frees when their process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from emofuse.common.errors import UsageError


def lock(path: Path, refusal: str) -> int:
    """Hold the lock file `path` and write into it who holds it; closing the returned descriptor lets go.

    Args:
        path: The lock file; made where it is absent. Whoever holds it may unlink it before letting go.
        refusal: What to say when another process holds it, with `{holder}` in it.

    Raises:
        UsageError: Another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise UsageError(refusal.replace("{holder}", holder or "unknown")) from None
        # Between opening and locking, the holder may have ended and unlinked the file: then the lock holds nothing.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"host {os.uname().nodename}, process {os.getpid()}".encode(), 0)
    return descriptor

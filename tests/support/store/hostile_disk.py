"""Run by test_disk.py in its own mount namespace: runs operations on disks of many sizes, or under quotas.

Asked `[kind, operation, kilobytes]` on stdin, for each line it makes a small disk (kind `disk`) or sets `ulimit -f`
(kind `quota`), runs the operation in a forked child, and answers `[exit code, its stderr, files, features]`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from pathlib import Path

from store_crash import OPERATIONS, read_checked

from emofuse.common.errors import command

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT = 1, 32


def mount(folder: Path, kilobytes: int, flags: int = 0) -> None:
    if LIBC.mount(b"none", bytes(folder), b"tmpfs", flags, f"size={kilobytes}k".encode()):
        raise OSError(ctypes.get_errno(), "mount")


def unmount(folder: Path) -> None:
    LIBC.umount2(bytes(folder), 2)


def trial(kind: str, operation: str, kilobytes: int, folder: Path) -> list[object] | None:
    """None: in the child."""
    template = folder.with_name(operation)
    if not template.exists():
        template.mkdir()
        OPERATIONS[operation].prepare(template / "s.h5")
    used = sum(-(-p.stat().st_size // 4096) * 4 for p in template.iterdir())
    if kind == "disk":
        mount(folder, max(4, used + kilobytes))
    for path in template.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.dup2(writing, 2)
        if kind == "quota":
            resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, kilobytes << 10))
        command(OPERATIONS[operation].run)(folder / "s.h5")
        return None
    os.close(writing)
    with open(reading) as pipe:  # noqa: PTH123 - a pipe
        message = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    left = sorted(p.name for p in folder.iterdir())
    holds = sorted(read_checked(folder / "s.h5")[0]) if (folder / "s.h5").exists() else []
    if kind == "disk":
        unmount(folder)
    else:
        for path in folder.iterdir():
            path.unlink()
    return [status, message, left, holds]


def main() -> None:
    folder = Path(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        found = trial(*json.loads(line), folder)
        if found is None:
            return  # a child, which ends as every program does: what HDF5 prints at exit is part of the test
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

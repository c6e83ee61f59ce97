"""What of this machine a process may use: cores and memory."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from emofuse.common.errors import UsageError


def cores() -> int:
    """Cores that this process may use: a cluster's manager may give it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def within_cores(threads: int) -> int:
    """`threads`, if there are as many cores: more only wait for each other, and far more end the process.

    Raises:
        UsageError: There are not.
    """
    if threads > cores():
        raise UsageError(
            f"--threads {threads}: this machine has {cores()} cores for this process; give no more threads"
        )
    return threads


def free_bytes() -> float:
    """Bytes that can be had without swapping: Linux's own estimate, within what the control group allows."""
    found = [math.inf]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            found.append(float(lines["MemAvailable"].split()[0]) * 1024)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / 2)
    with contextlib.suppress(OSError, ValueError):  # no control group, or one of the older kind
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].strip("/")
        top = Path("/sys/fs/cgroup")
        for group in {top, top / own}:
            most = (group / "memory.max").read_text().strip() if (group / "memory.max").is_file() else "max"
            if most != "max":
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                # Pages of files that nobody has used for a while are given up as soon as somebody asks.
                used = float((group / "memory.current").read_text()) - float(stat.get("inactive_file", 0))
                found.append(float(most) - used)
    return max(0.0, min(found))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: torch names a full GPU by a class, a full host by a text."""
    said = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in said)
    )

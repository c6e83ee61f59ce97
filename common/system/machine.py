"""The cores and the memory that this process may use."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

from emofuse.common.errors import UsageError


def usable_cores() -> int:
    """The number of cores that this process may use; a cluster's manager may grant fewer than exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_threads(threads: int) -> int:
    """Return `threads`, unless there are fewer cores: more threads only wait, and far more crash the process.

    Raises:
        UsageError: There are fewer cores.
    """
    cores = usable_cores()
    if threads > cores:
        raise UsageError(f"--threads {threads}: this process may use {cores} cores; give at most {cores}")
    return threads


def peak_memory() -> int:
    """The most bytes that this process has had in memory so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory() -> float:
    """Bytes available without swapping: the system's estimate, within the limit of the control group."""
    bounds = [_system_bytes()]
    with contextlib.suppress(OSError, ValueError):  # no control group, or one of version 1
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].strip("/")
        top = Path("/sys/fs/cgroup")
        for group in {top, top / own}:
            bounds.append(_group_bytes(group))
    return max(0.0, min(bounds))


def _system_bytes() -> float:
    """The estimate of the Linux kernel; elsewhere half of the physical memory; infinity where neither is known."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            return float(lines["MemAvailable"].split()[0]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / 2
    return math.inf


def _group_bytes(group: Path) -> float:
    """What the limit of a control group leaves; infinity without a limit."""
    limit = (group / "memory.max").read_text().strip() if (group / "memory.max").is_file() else "max"
    if limit == "max":
        return math.inf
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    # Cached pages of files that were not used for a while are given up on demand.
    used = float((group / "memory.current").read_text()) - float(stat.get("inactive_file", 0))
    return float(limit) - used


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means too little memory: torch raises a class for a full GPU, only a text for a full host."""
    texts = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(text in str(error) for text in texts)
    )

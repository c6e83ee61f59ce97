"""The C library's allocator, told to keep what it has: on a CPU half of the cheap steps' time is fresh memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_KEPT = (0, 1 << 30)
USUAL = (65536, 128 << 10)
"""What glibc begins with."""


def keep_memory(arrays: int = _KEPT[0], trim: int = _KEPT[1]) -> bool:
    """Have large arrays reuse the pages of earlier ones; whether the C library can do so (glibc can).

    An encoder frees an array of 100 MB at every step and asks for another. glibc gives such arrays back to the system
    at once, and the system clears every page anew: HuBERT then takes a tenth longer (benchmarks/NOTES.md).

    Args:
        arrays: How many large arrays may have pages of their own.
        trim: Bytes that stay with the process though nothing uses them.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(_MMAP_MAX, arrays)) and bool(mallopt(_TRIM_THRESHOLD, trim))

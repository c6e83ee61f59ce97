"""Large memory pages for torch on a CPU, where clearing fresh memory takes half the time of a cheap step."""

from __future__ import annotations

import os
import sys

LARGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""The environment variable that torch reads at its first allocation; it has an effect on Linux only."""


def use_large_pages() -> None:
    """Let torch request pages of 2 MB for large arrays; without effect once torch is imported.

    An encoder frees an array of 100 MB at every step and allocates another one, whose pages of 4 kB the system hands
    out and clears one by one: a GELU then takes twice as long. Memory use also stays flat (benchmarks/NOTES.md). A
    value that the user has set is kept.
    """
    if sys.platform.startswith("linux") and "torch" not in sys.modules:
        for name, value in LARGE_PAGES.items():
            os.environ.setdefault(name, value)

"""Large pages for torch's arrays on a CPU, where the clearing of fresh memory is half of what a cheap step takes."""

from __future__ import annotations

import os
import sys

LARGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""What torch reads when it first allocates; Linux alone heeds it."""


def use_large_pages() -> None:
    """Have torch ask the system for pages of 2 MB where arrays are large; once torch is imported, nothing happens.

    An encoder frees an array of 100 MB at every step and asks for another, whose pages of 4 kB the system hands out and
    clears one by one: a GELU then takes twice as long. Memory also stays flat (benchmarks/NOTES.md). What the user has
    set stays.
    """
    if sys.platform.startswith("linux") and "torch" not in sys.modules:
        for name, value in LARGE_PAGES.items():
            os.environ.setdefault(name, value)

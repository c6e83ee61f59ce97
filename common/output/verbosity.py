"""How much a command says (`--quiet`, `--verbose`), and the names of the steps that it takes its time for."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from emofuse.common.output.console import warn

SILENT_SECONDS = 1.0
"""How long a step may take before it is named."""


class Verbosity(IntEnum):
    """What is printed besides results, warnings and errors."""

    QUIET = 0
    """Nothing."""
    NORMAL = 1
    """Progress, the plan of the work, and steps that take long."""
    VERBOSE = 2
    """Also the seconds that each step took."""


_level = Verbosity.NORMAL


def set_verbosity(level: Verbosity) -> None:
    """Set the level of this process."""
    global _level
    _level = level


def verbosity() -> Verbosity:
    """The level of this process."""
    return _level


@contextmanager
def stage(title: str) -> Iterator[None]:
    """A step of the work, such as `reading features`: on a terminal it is named when it takes over a second."""
    if _level is Verbosity.QUIET:
        yield
        return
    announcement = threading.Timer(SILENT_SECONDS, warn, [f"{title} ..."])
    announcement.daemon = True
    started = time.monotonic()
    if sys.stderr.isatty():  # a log has the lines of progress, and with --verbose every step
        announcement.start()
    try:
        yield
    finally:
        announcement.cancel()
        if _level is Verbosity.VERBOSE:
            warn(f"{title}: {time.monotonic() - started:.2f} s")

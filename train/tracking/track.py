"""Writes a finished run to trackers; none of them can lose it."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.output.console import Say, printable
from emofuse.common.problems import Problems
from emofuse.train.runs.finished_run import Run
from emofuse.train.tracking.registry import TRACKERS
from emofuse.train.tracking.tracked_run import tracked_run


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that cannot be written, before anything is trained.

    Raises:
        UsageError: A tracker does not exist or is not installed; all such are named.
    """
    problems = Problems()
    for name in dict.fromkeys(names):
        with problems.collecting():
            TRACKERS[name].check()
    problems.raise_all()


def track(run: Run, names: Sequence[str], say: Say) -> None:
    """Write a finished run to each of the trackers; what fails is reported in one line, and the run stays."""
    for name in dict.fromkeys(names):
        try:
            place = TRACKERS[name].write(tracked_run(run))
        except Exception as error:  # a tracker may raise anything, and the run is finished
            reason = printable(" ".join(f"{type(error).__name__}: {error}".split()), 300)
            say(f"note: {name} was not written ({reason}); the run is complete, the same command adds it")
        else:
            say(f"tracked: {name}, {printable(place, 400)}")

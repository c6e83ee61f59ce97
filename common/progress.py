"""The one progress bar: a moving line on a terminal, plain lines now and then on a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

PLAIN_LINE_SECONDS = 10.0


class Progress:
    """Counts work done against a known total.

    Args:
        total: Amount of work, in `unit`.
        title: Names the work at the start of the line.
        unit: What is counted (utterances, steps).
        done: Work that an earlier run already did; it does not count towards the speed.
    """

    def __init__(
        self, total: int, title: str, unit: str, done: int = 0, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.total, self.title, self.unit, self.done = total, title, unit, done
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._started = self._printed = time.monotonic()
        self._first = done
        self._note = ""
        self._bar = (
            tqdm(total=total, initial=done, desc=title, unit=f" {unit}", file=self._stream, dynamic_ncols=True)
            if self._stream.isatty() and not quiet
            else None
        )

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Add `amount` of work; `note` replaces the text at the end of the line."""
        self.done += amount
        self._note = note or self._note
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(amount)
        elif not self._quiet and time.monotonic() - self._printed >= PLAIN_LINE_SECONDS:
            self._plain_line()

    def _plain_line(self) -> None:
        self._printed = time.monotonic()
        elapsed = self._printed - self._started
        fresh = self.done - self._first
        left = f", {clock(elapsed / fresh * (self.total - self.done))} left" if fresh and self.done < self.total else ""
        note = f", {self._note}" if self._note else ""
        print(
            f"{self.title}: {self.done}/{self.total} {self.unit}{note}, {clock(elapsed)} elapsed{left}",
            file=self._stream,
            flush=True,
        )

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        elif not self._quiet and kind is None:
            self._plain_line()


def clock(seconds: float) -> str:
    """Seconds as people read them: 8 s, 3:05, 1:02:07."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"

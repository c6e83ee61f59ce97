"""Progress display: a bar on a terminal, a plain line every 10 seconds otherwise."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from emofuse.common.output.console import screen_text, warn
from emofuse.common.output.verbosity import Verbosity, verbosity

PLAIN_LINE_SECONDS = 10.0


class Progress:
    """Counts finished items of a known total and estimates the remaining time.

    Args:
        total: Number of items.
        title: The name of the work, at the start of the line.
        unit: What is counted (utterances, steps).
        done: Items finished by an earlier run; they do not count towards the speed.
        work: The total cost of the remaining items, where costs differ (seconds of audio); None means equal costs.
        quiet: Show no progress.
        stream: Where to write; stderr by default.
    """

    def __init__(
        self,
        total: int,
        title: str,
        unit: str,
        done: int = 0,
        work: float | None = None,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.total, self.title, self.unit, self.done = total, title, unit, done
        self._stream = stream or sys.stderr
        self._quiet = quiet or verbosity() is Verbosity.QUIET
        self._started = self._printed = time.monotonic()
        self._work = work if work is not None else float(total - done)
        self._worked = 0.0
        self._printed_done = -1
        self._note = ""
        self._bar = (
            tqdm(
                total=total,
                initial=done,
                desc=screen_text(title),
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} " + unit + "{postfix}",
            )
            if self._stream.isatty() and not self._quiet
            else None
        )

    def advance(self, amount: int = 1, note: str = "", work: float | None = None) -> None:
        """Add `amount` finished items that cost `work`; `note` replaces the note shown before the times."""
        self.done += amount
        self._worked += amount if work is None else work
        self._note = note or self._note
        if self._bar is not None:
            self._bar.set_postfix_str(screen_text(self._tail()), refresh=False)
            self._bar.update(amount)
        elif not self._quiet and time.monotonic() - self._printed >= PLAIN_LINE_SECONDS:
            self._plain_line()

    def _tail(self) -> str:
        elapsed = time.monotonic() - self._started
        parts = [self._note] if self._note else []
        parts.append(f"{format_duration(elapsed)} elapsed")
        if self._worked and self.done < self.total:
            parts.append(f"{format_duration(elapsed / self._worked * max(0.0, self._work - self._worked))} left")
        return ", ".join(parts)

    def _plain_line(self) -> None:
        self._printed, self._printed_done = time.monotonic(), self.done
        warn(f"{self.title}: {self.done}/{self.total} {self.unit}, {self._tail()}", self._stream)

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        if self._bar is not None:
            self._bar.write(screen_text(line), file=self._stream)
        else:
            warn(line, self._stream)

    def other_output(self) -> AbstractContextManager[None]:
        """A context in which other code may print lines to stdout without breaking the bar."""
        return nullcontext() if self._bar is None else tqdm.external_write_mode(file=sys.stdout)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif not self._quiet and kind is None and self._printed_done != self.done:
            self._plain_line()


def format_duration(seconds: float) -> str:
    """Seconds in a readable form: 8 s, 3:05, 1:02:07."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"

"""Writes what the encoders gave, on a thread of its own, so that no encoder waits for the disk."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType

from emofuse.store import FeatureWriter

FLUSH_SECONDS = 1.0
WAITING = 2
"""Batches that may wait to be written: a disk that cannot follow must not fill the memory."""


class WriterThread:
    """A thread that does what it is given, in order; what goes wrong is raised where more is given, or at the end.

    Args:
        writers: Pushed to the disk now and then.
    """

    def __init__(self, writers: list[FeatureWriter]) -> None:
        self._writers = writers
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._go, name="writer", daemon=True)

    def give(self, write: Callable[[], None]) -> None:
        """Have it done; waits while too much waits already."""
        if self._error is None:
            self._waiting.put(write)
        self._raise()

    def _go(self) -> None:
        flushed = time.monotonic()
        while (write := self._waiting.get()) is not None:
            if self._error is not None:
                continue  # taken all the same: whoever gives must not wait for ever
            try:
                write()
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    for writer in self._writers:
                        writer.flush()
                    flushed = time.monotonic()
            except BaseException as error:
                self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> WriterThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also when the work was interrupted: what has been encoded is written.
        self._waiting.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

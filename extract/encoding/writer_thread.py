"""Writes encoded batches in a separate thread, so that no encoder waits for the disk."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from emofuse.store import FeatureWriter

FLUSH_SECONDS = 1.0
MOST_WAITING = 2
"""Batches that may wait to be written: a slow disk must not fill the memory."""


class WriterThread:
    """A thread that runs the functions it is given, in order; their errors are raised at the next one, or at the end.

    Args:
        writers: Flushed to the disk about once a second.
    """

    def __init__(self, writers: Sequence[FeatureWriter]) -> None:
        self._writers = writers
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def submit(self, write: Callable[[], None]) -> None:
        """Have `write` run; blocks while too many wait."""
        if self._error is None:
            self._queue.put(write)
        self._raise_error()

    def _run(self) -> None:
        flushed = time.monotonic()
        while (write := self._queue.get()) is not None:
            if self._error is not None:
                continue  # taken from the queue all the same: `submit` must not block forever
            try:
                write()
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    for writer in self._writers:
                        writer.flush()
                    flushed = time.monotonic()
            except BaseException as error:
                self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> WriterThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an interruption too, everything that was encoded is written.
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise_error()

"""Periodic training checkpoints: the state of a training in one file, so that a killed one resumes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError

if TYPE_CHECKING:
    from emofuse.common.disk.tensor_file import State

NAME = "training.safetensors"
SECONDS = 2.0
"""The shortest time between two checkpoints."""
SHARE = 20
"""Checkpoints also take at most one part in this many of the training time."""


_WRITING: dict[Path, threading.Thread] = {}
"""The threads of this process that write a checkpoint now."""


class TrainingCheckpoint:
    """The checkpoint file of one training; `tensors` and `metadata` hold what it contained when it was opened.

    Args:
        folder: The folder of the file.
        form: The value of `format` in its metadata.
        thing: What restarts when the file is deleted, in messages.

    Raises:
        DataError: The file is damaged or of another format.
    """

    def __init__(self, folder: Path, form: str, thing: str) -> None:
        self.path, self._form = folder / NAME, form
        self.tensors: State = {}
        self.metadata: dict[str, Any] = {}
        self._cost, self._last = 0.0, time.monotonic()
        self._error: BaseException | None = None
        if self.path in _WRITING:  # by an earlier training of this process
            _WRITING[self.path].join()
        if not self.path.exists():
            return
        try:
            self.tensors, self.metadata = tensor_file.read(self.path)
        except DataError as error:
            raise DataError(f"{error}; delete it, and {thing} restarts") from None
        if self.metadata.get("format") != form:
            raise DataError(f"{self.path} is not a checkpoint of this training; delete it, and {thing} restarts")

    def discard(self) -> None:
        """Drop what was read from the file; the file itself stays."""
        self.tensors, self.metadata = {}, {}

    def write(self, collect: Callable[[], tuple[State, Mapping[str, Any]]]) -> None:
        """Write the tensors and metadata that `collect` returns, unless the last checkpoint is too recent.

        They are copied to the CPU and written by a thread; an error of the thread is raised by the next call.
        """
        started = time.monotonic()
        if started - self._last < max(SECONDS, SHARE * self._cost):
            return
        self.flush()
        tensors, metadata = collect()
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        thread = threading.Thread(target=self._write, args=(copies, {"format": self._form, **metadata}, started))
        _WRITING[self.path] = thread
        thread.start()
        self._last = time.monotonic()

    def _write(self, tensors: State, metadata: Mapping[str, Any], started: float) -> None:
        try:
            tensor_file.write(self.path, tensors, metadata)
        except BaseException as error:
            self._error = error
        self._cost = time.monotonic() - started

    def flush(self) -> None:
        """Wait until the last checkpoint is on the disk, and raise the error of its thread."""
        thread = _WRITING.pop(self.path, None)
        if thread is not None:
            thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def remove(self) -> None:
        """Delete the file at the end of the training."""
        self.flush()
        self.path.unlink(missing_ok=True)

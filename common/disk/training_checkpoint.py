"""Where a training stands, kept in one file now and then, so that a killed one goes on from there."""

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
"""Nothing is kept more often than this,"""
SHARE = 20
"""nor so often that it costs more than one part in so many of the time."""


_WRITING: dict[Path, threading.Thread] = {}


class TrainingCheckpoint:
    """The file in a training's folder; what it held when it was opened stands in `tensors` and `about`.

    Args:
        folder: Where it lies.
        form: What its words call themselves under `format`.
        thing: What starts anew without it.

    Raises:
        DataError: What lies there is damaged, or is something else.
    """

    def __init__(self, folder: Path, form: str, thing: str) -> None:
        self.path, self._form = folder / NAME, form
        self.tensors: State = {}
        self.about: dict[str, Any] = {}
        self._cost, self._last = 0.0, time.monotonic()
        self._error: BaseException | None = None
        if self.path in _WRITING:  # by this process, for a training that has ended
            _WRITING[self.path].join()
        if not self.path.exists():
            return
        try:
            self.tensors, self.about = tensor_file.read(self.path)
        except DataError as error:
            raise DataError(f"{error}; delete it, and {thing} starts anew") from None
        if self.about.get("format") != form:
            raise DataError(f"{self.path} is not where this training stands; delete it, and {thing} starts anew")

    def forget(self) -> None:
        """What the file held is of no use here."""
        self.tensors, self.about = {}, {}

    def write(self, collect: Callable[[], tuple[State, Mapping[str, Any]]]) -> None:
        """Keep the tensors and words that `collect` gives, unless some were kept a moment ago.

        They are copied; a thread brings them to the disk, and what goes wrong there is raised by the next call.
        """
        began = time.monotonic()
        if began - self._last < max(SECONDS, SHARE * self._cost):
            return
        self.settle()
        tensors, about = collect()
        still = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        thread = threading.Thread(target=self._put, args=(still, {"format": self._form, **about}, began))
        _WRITING[self.path] = thread
        thread.start()
        self._last = time.monotonic()

    def _put(self, tensors: State, about: Mapping[str, Any], began: float) -> None:
        try:
            tensor_file.write(self.path, tensors, about)
        except BaseException as error:
            self._error = error
        self._cost = time.monotonic() - began

    def settle(self) -> None:
        """Wait until what was kept is on the disk; raises what went wrong."""
        thread = _WRITING.pop(self.path, None)
        if thread is not None:
            thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def remove(self) -> None:
        """The training is at its end: nothing is kept any more."""
        self.settle()
        self.path.unlink(missing_ok=True)

"""Where a training stands, kept in one file now and then, so that a killed one goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common import tensorfile
from emofuse.common.errors import DataError

if TYPE_CHECKING:
    from emofuse.common.tensorfile import State

NAME = "training.safetensors"
SECONDS = 2.0
"""Nothing is kept more often than this,"""
SHARE = 20
"""nor so often that it costs more than one part in so many of the time."""


class TrainingFile:
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
        if not self.path.exists():
            return
        try:
            self.tensors, self.about = tensorfile.read(self.path)
        except DataError as error:
            raise DataError(f"{error}; delete it, and {thing} starts anew") from None
        if self.about.get("format") != form:
            raise DataError(f"{self.path} is not where this training stands; delete it, and {thing} starts anew")

    def forget(self) -> None:
        """What the file held is of no use here."""
        self.tensors, self.about = {}, {}

    def write(self, collect: Callable[[], tuple[State, Mapping[str, Any]]]) -> None:
        """Keep the tensors and words that `collect` gives, unless some were kept a moment ago."""
        began = time.monotonic()
        if began - self._last < max(SECONDS, SHARE * self._cost):
            return
        tensors, about = collect()
        tensorfile.write(self.path, tensors, {"format": self._form, **about})
        self._last = time.monotonic()
        self._cost = self._last - began

    def remove(self) -> None:
        """The training is at its end: nothing is kept any more."""
        self.path.unlink(missing_ok=True)

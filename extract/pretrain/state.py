"""Where a pre-training stands, kept now and then: a killed one goes on from there to the same weights."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common import tensorfile
from emofuse.common.errors import DataError
from emofuse.common.tensorfile import over, under

if TYPE_CHECKING:
    import torch

    from emofuse.common.tensorfile import State

FORMAT = "emofuse-pretraining-1"
SECONDS = 5.0
"""Nothing is kept more often than this,"""
SHARE = 20
"""nor so often that it costs more than one part in so many of the time."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a pre-training is."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Spent so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)


class Keeper:
    """Keeps the state of a pre-training in its folder.

    Raises:
        DataError: What lies there is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "training.safetensors"
        self._tensors: State = {}
        self._about: dict[str, Any] = {}
        self._cost, self._last = 0.0, time.monotonic()
        if self.path.exists():
            try:
                self._tensors, self._about = tensorfile.read(self.path)
            except DataError as error:
                raise DataError(f"{error}; delete it, and the run starts anew") from None
            if self._about.get("format") != FORMAT:
                raise DataError(f"{self.path} is no state of `pretrain`; delete it, and the run starts anew")

    @property
    def step(self) -> int:
        """The step from which fitting will go on; 0: from the start."""
        return int(self._about["progress"]["step"]) if self._about else 0

    def restore(self, parameters: State, optimiser: torch.optim.Optimizer) -> Progress:
        """Put back what was kept into `parameters`; where it stands."""
        import torch

        if not self._about:
            return Progress()
        with torch.no_grad():
            for name, held in under(self._tensors, "model").items():
                parameters[name].copy_(held)
        tensorfile.restore_optimiser(optimiser, under(self._tensors, "adam"))
        self._tensors = {}
        return Progress(**self._about["progress"])

    def keep(self, at: Progress, parameters: State, optimiser: torch.optim.Optimizer) -> None:
        """Write where fitting stands, unless that was done a moment ago."""
        began = time.monotonic()
        if began - self._last < max(SECONDS, SHARE * self._cost):
            return
        tensors = over("model", parameters) | over("adam", tensorfile.optimiser_state(optimiser))
        tensorfile.write(self.path, tensors, {"format": FORMAT, "progress": asdict(at)})
        self._last = time.monotonic()
        self._cost = self._last - began

    def remove(self) -> None:
        """The network is fitted: nothing is kept any more."""
        self.path.unlink(missing_ok=True)

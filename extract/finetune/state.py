"""Where the fitting of one fold stands, kept at its looks: a killed fold goes on from there to the same weights."""

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
    from emofuse.extract.finetune.network import Classifier

FORMAT = "emofuse-finetuning-1"
SECONDS = 5.0
"""Nothing is kept more often than this,"""
SHARE = 20
"""nor so often that it costs more than one part in so many of the time."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a fold is."""

    update: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Spent so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)
    best_update: int = 0
    best_scores: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    """Looks since the best one, once all layers were free."""
    loss_scale: float = 0.0
    """fp16 alone: what the loss is multiplied with."""


class Keeper:
    """Keeps the state of one fold in its folder.

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
                raise DataError(f"{error}; delete it, and the fold starts anew") from None
            if self._about.get("format") != FORMAT:
                raise DataError(f"{self.path} is no state of `finetune`; delete it, and the fold starts anew")

    @property
    def update(self) -> int:
        """The update from which fitting will go on; 0: from the start."""
        return int(self._about["progress"]["update"]) if self._about else 0

    def restore(self, model: Classifier, optimiser: torch.optim.Optimizer) -> tuple[Progress, State]:
        """Put back what was kept; where it stands and the best weights so far."""
        if not self._about:
            return Progress(), {}
        model.load_state_dict(under(self._tensors, "model"), strict=False)
        tensorfile.restore_optimiser(optimiser, under(self._tensors, "adam"))
        best, self._tensors = under(self._tensors, "best"), {}
        return Progress(**self._about["progress"]), best

    def keep(self, at: Progress, best: State, model: Classifier, optimiser: torch.optim.Optimizer) -> None:
        """Write where fitting stands, unless that was done a moment ago."""
        began = time.monotonic()
        if began - self._last < max(SECONDS, SHARE * self._cost):
            return
        tensors = over("model", model.fitted()) | over("best", best)
        tensors |= over("adam", tensorfile.optimiser_state(optimiser))
        tensorfile.write(self.path, tensors, {"format": FORMAT, "progress": asdict(at)})
        self._last = time.monotonic()
        self._cost = self._last - began

    def remove(self) -> None:
        """The fold is fitted: nothing is kept any more."""
        self.path.unlink(missing_ok=True)

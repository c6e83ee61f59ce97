"""Where the fitting of one fold stands, kept at its looks: a killed fold goes on from there to the same weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk import tensor_file
from emofuse.common.disk.tensor_file import over, under
from emofuse.common.disk.training_checkpoint import TrainingCheckpoint

if TYPE_CHECKING:
    import torch

    from emofuse.common.disk.tensor_file import State
    from emofuse.extract.finetune.network import Classifier

FORMAT = "emofuse-finetuning-1"


@dataclass(slots=True, kw_only=True)
class FinetuneState:
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
    scaler: dict[str, Any] = field(default_factory=dict)
    """fp16 alone: what the loss is multiplied with, and for how long."""


class FinetuneCheckpoint(TrainingCheckpoint):
    """Keeps the state of one fold in its folder.

    Raises:
        DataError: What lies there is damaged.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FORMAT, "the fold")

    @property
    def update(self) -> int:
        """The update from which fitting will go on; 0: from the start."""
        return int(self.about["progress"]["update"]) if self.about else 0

    def restore(self, model: Classifier, optimiser: torch.optim.Optimizer) -> tuple[FinetuneState, State]:
        """Put back what was kept; where it stands and the best weights so far."""
        if not self.about:
            return FinetuneState(), {}
        at, best = FinetuneState(**self.about["progress"]), under(self.tensors, "best")
        model.load_state_dict(under(self.tensors, "model"), strict=False)
        tensor_file.restore_optimiser(optimiser, under(self.tensors, "adam"))
        self.forget()
        return at, best

    def keep(self, at: FinetuneState, best: State, model: Classifier, optimiser: torch.optim.Optimizer) -> None:
        """Write where fitting stands, unless that was done a moment ago."""
        self.write(
            lambda: (
                over("model", model.fitted())
                | over("best", best)
                | over("adam", tensor_file.optimiser_state(optimiser)),
                {"progress": asdict(at)},
            )
        )

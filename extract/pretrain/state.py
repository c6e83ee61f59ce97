"""Where a pre-training stands, kept now and then: a killed one goes on from there to the same weights."""

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

FORMAT = "emofuse-pretraining-1"


@dataclass(slots=True, kw_only=True)
class PretrainState:
    """How far a pre-training is."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Spent so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)


class PretrainCheckpoint(TrainingCheckpoint):
    """Keeps the state of a pre-training in its folder.

    Raises:
        DataError: What lies there is damaged.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FORMAT, "the run")

    @property
    def step(self) -> int:
        """The step from which fitting will go on; 0: from the start."""
        return int(self.about["progress"]["step"]) if self.about else 0

    def restore(self, parameters: State, optimiser: torch.optim.Optimizer) -> PretrainState:
        """Put back what was kept into `parameters`; where it stands."""
        import torch

        if not self.about:
            return PretrainState()
        with torch.no_grad():
            for name, held in under(self.tensors, "model").items():
                parameters[name].copy_(held)
        tensor_file.restore_optimiser(optimiser, under(self.tensors, "adam"))
        at = PretrainState(**self.about["progress"])
        self.forget()
        return at

    def keep(self, at: PretrainState, parameters: State, optimiser: torch.optim.Optimizer) -> None:
        """Write where fitting stands, unless that was done a moment ago."""
        self.write(
            lambda: (
                over("model", parameters) | over("adam", tensor_file.optimiser_state(optimiser)),
                {"progress": asdict(at)},
            )
        )

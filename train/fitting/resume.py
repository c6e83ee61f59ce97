"""Where the training of one fold stands, kept at its looks: a killed fold goes on from there to the same weights.

`training.safetensors` holds the parameters, Adam's state, the best weights so far and the state of the generator that
models draw from; its header holds what is no tensor. The order of the batches follows from the seed and the step alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emofuse.common.disk import tensor_file
from emofuse.common.disk.tensor_file import over, under
from emofuse.common.disk.training_checkpoint import TrainingCheckpoint

FORMAT = "emofuse-training-1"
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best look so far."""

    value: float
    """What selects."""
    step: int
    scores: dict[str, float] | None
    """On validation."""
    weights: State


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """Training as it stands after `step` steps, beside what model, optimiser and generator hold themselves."""

    step: int = 0
    seconds: float = 0.0
    """Spent so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    checkpoints: dict[int, State] = field(default_factory=dict)


class FoldCheckpoint(TrainingCheckpoint):
    """Keeps the state of one fold in its folder.

    Raises:
        DataError: What lies there is damaged.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(folder, FORMAT, "the fold")
        self.device = device
        # A generator's state means nothing on another kind of device: there the fold starts anew.
        if self.about and self.about["device"] != device.type:
            self.forget()

    @property
    def step(self) -> int:
        """The step from which training will go on; 0: from the start."""
        return int(self.about.get("step", 0))

    def restore(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator
    ) -> TrainingState | None:
        """Put back what was kept; none where nothing was."""
        if not self.step:
            return None
        tensors, about = self.tensors, self.about
        model.load_state_dict(under(tensors, "model"))
        tensor_file.restore_optimiser(optimiser, under(tensors, "adam"))
        generator.set_state(tensors["generator"])
        checkpoints = {step: under(tensors, f"look/{step}") for step in about["looks"]}
        weights = checkpoints.get(about["best"]["step"]) or under(tensors, "best")
        self.forget()
        return TrainingState(
            step=about["step"],
            seconds=about["seconds"],
            history=about["history"],
            best=Best(**about["best"], weights=weights),
            checkpoints=checkpoints,
        )

    def keep(
        self, at: TrainingState, model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        """Write where training stands, unless that was done a moment ago."""
        assert at.best is not None
        best = at.best

        def collect() -> tuple[State, dict[str, Any]]:
            tensors = over("model", model.state_dict()) | {"generator": generator.get_state()}
            tensors |= over("adam", tensor_file.optimiser_state(optimiser))
            for step, weights in at.checkpoints.items():
                tensors |= over(f"look/{step}", weights)
            if best.step not in at.checkpoints:
                tensors |= over("best", best.weights)
            return tensors, {
                "device": self.device.type,
                "step": at.step,
                "seconds": at.seconds,
                "history": at.history,
                "best": {"value": best.value, "step": best.step, "scores": best.scores},
                "looks": list(at.checkpoints),
            }

        self.write(collect)

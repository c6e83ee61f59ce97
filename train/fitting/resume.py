"""The state of one fold's training, saved at its evaluation steps: a killed fold resumes there to the same weights.

`training.safetensors` holds the parameters, their average if there is one, the state of the optimiser (Adam or AdamW),
the best weights so far, and the state of the generator of the model's random draws; its header holds everything that is
not a tensor. The order of the batches and their changes follow from the seed and the step, the learning rate from the
settings and the history: they are not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emofuse.common.disk import tensor_file
from emofuse.common.disk.tensor_file import add_prefix, strip_prefix
from emofuse.common.disk.training_checkpoint import TrainingCheckpoint
from emofuse.common.errors import DataError

FORMAT = "emofuse-training-1"
State = dict[str, Tensor]
Stateful = tuple[nn.Module, torch.optim.Optimizer, torch.Generator, Mapping[str, Tensor]]
"""What a training step changes: model, optimiser, generator, and the average of the weights (empty where none is)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEvaluation:
    """The best evaluation step so far."""

    value: float
    """The score that selects; without validation, the step."""
    step: int
    scores: dict[str, float] | None
    """On validation; None without validation."""
    weights: State


@dataclass(slots=True, kw_only=True)
class TrainingProgress:
    """The training after `step` steps, except for the state of the model, the optimiser and the generator."""

    step: int = 0
    seconds: float = 0.0
    """Training time so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row for each evaluation step."""
    best: BestEvaluation | None = None
    checkpoints: dict[int, State] = field(default_factory=dict)
    """Step -> weights, if the weights of all evaluation steps are kept."""


class FoldCheckpoint(TrainingCheckpoint):
    """Saves the training state of one fold in the fold's folder.

    Raises:
        DataError: The saved state is damaged.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(folder, FORMAT, "the fold")
        self.device = device
        # A generator's state is meaningless on another kind of device: there the fold restarts.
        if self.metadata and self.metadata.get("device") != device.type:
            self.discard()

    @property
    def step(self) -> int:
        """The step from which training will resume; 0 if it will start from the beginning."""
        step = self.metadata.get("step", 0)
        if not isinstance(step, int) or step < 0:
            raise DataError(f"{self.path} was altered: its step is {step!r}; delete it, and the fold restarts")
        return step

    def restore(self, stateful: Stateful) -> TrainingProgress | None:
        """Load the saved state into `stateful`; None if nothing was saved.

        Raises:
            DataError: The saved state is not of this training.
        """
        if not self.step:
            return None
        try:
            return self._restore(stateful)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise DataError(
                f"{self.path} is not of this training or was altered ({reason}); delete it, and the fold restarts"
            ) from None

    def _restore(self, stateful: Stateful) -> TrainingProgress:
        model, optimiser, generator, average = stateful
        tensors, about = self.tensors, self.metadata
        model.load_state_dict(strip_prefix(tensors, "model"))
        tensor_file.restore_optimiser(optimiser, strip_prefix(tensors, "adam"))
        generator.set_state(tensors["generator"])
        for name, weight in average.items():
            weight.copy_(tensors[f"average/{name}"])
        checkpoints = {step: strip_prefix(tensors, f"look/{step}") for step in about["looks"]}
        weights = checkpoints.get(about["best"]["step"]) or strip_prefix(tensors, "best")
        self.discard()
        return TrainingProgress(
            step=about["step"],
            seconds=about["seconds"],
            history=about["history"],
            best=BestEvaluation(**about["best"], weights=weights),
            checkpoints=checkpoints,
        )

    def save(self, state: TrainingProgress, stateful: Stateful) -> None:
        """Write the state, unless one was written a moment ago."""
        assert state.best is not None
        best = state.best
        model, optimiser, generator, average = stateful

        def collect() -> tuple[State, dict[str, Any]]:
            tensors = add_prefix("model", model.state_dict()) | {"generator": generator.get_state()}
            tensors |= add_prefix("adam", tensor_file.optimiser_state(optimiser)) | add_prefix("average", average)
            for step, weights in state.checkpoints.items():
                tensors |= add_prefix(f"look/{step}", weights)
            if best.step not in state.checkpoints:
                tensors |= add_prefix("best", best.weights)
            return tensors, {
                "device": self.device.type,
                "step": state.step,
                "seconds": state.seconds,
                "history": state.history,
                "best": {"value": best.value, "step": best.step, "scores": best.scores},
                "looks": list(state.checkpoints),
            }

        self.write(collect)

"""The training checkpoint of an encoder: an interrupted training resumes from it and ends with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from emofuse.common.disk import tensor_file
from emofuse.common.disk.tensor_file import add_prefix, strip_prefix
from emofuse.common.disk.training_checkpoint import TrainingCheckpoint

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance

    from emofuse.common.disk.tensor_file import State


P = TypeVar("P", bound="DataclassInstance")
"""How far a training is: a dataclass whose fields, JSON-ready, are stored in the checkpoint's metadata."""


class EncoderCheckpoint(TrainingCheckpoint, Generic[P]):
    """Parameters, AdamW's state, the best parameters so far, and the progress.

    Args:
        folder: Folder of the checkpoint.
        form: The `format` in its metadata.
        thing: What restarts without it, for messages.
        fresh: Makes the progress of a training that has not started, and restores a stored one from its fields.

    Raises:
        DataError: The stored checkpoint is damaged.
    """

    def __init__(self, folder: Path, form: str, thing: str, fresh: Callable[..., P]) -> None:
        super().__init__(folder, form, thing)
        self._fresh = fresh

    @property
    def progress(self) -> P:
        """The stored progress; a fresh one where nothing is stored."""
        return self._fresh(**self.metadata["progress"]) if self.metadata else self._fresh()

    def restore(self, parameters: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer) -> tuple[P, State]:
        """Copy what is stored into parameters and optimiser.

        Returns:
            The progress, and the best parameters so far (empty where none are stored).
        """
        import torch

        if not self.metadata:
            return self._fresh(), {}
        progress, best = self.progress, strip_prefix(self.tensors, "best")
        with torch.no_grad():
            for name, stored in strip_prefix(self.tensors, "model").items():
                parameters[name].copy_(stored)
        tensor_file.restore_optimiser(optimiser, strip_prefix(self.tensors, "adam"))
        self.discard()
        return progress, best

    def keep(self, progress: P, parameters: State, optimiser: torch.optim.Optimizer, best: State | None = None) -> None:
        """Store the state of the training, unless it was stored a moment ago."""
        self.write(
            lambda: (
                {
                    **add_prefix("model", parameters),
                    **add_prefix("best", best or {}),
                    **add_prefix("adam", tensor_file.optimiser_state(optimiser)),
                },
                {"progress": asdict(progress)},
            )
        )

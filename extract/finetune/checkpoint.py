"""The training checkpoint of one fold, written after evaluations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emofuse.extract.encoder_training.checkpoint import EncoderCheckpoint

FORMAT = "emofuse-finetuning-1"


@dataclass(slots=True, kw_only=True)
class FinetuneProgress:
    """How far the training of a fold is."""

    update: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Training time so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row per evaluation."""
    best_update: int = 0
    best_scores: dict[str, float] = field(default_factory=dict)
    """Validation scores after the best update."""
    waited: int = 0
    """Evaluations since the best one, counted once all layers are unfrozen."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the loss scaler; empty unless the precision is fp16."""


def open_checkpoint(folder: Path) -> EncoderCheckpoint[FinetuneProgress]:
    """The checkpoint in a fold's folder.

    Raises:
        DataError: It is damaged.
    """
    return EncoderCheckpoint(folder, FORMAT, "the fold", FinetuneProgress)

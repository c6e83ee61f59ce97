"""The training checkpoint of a pre-training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emofuse.extract.encoder_training.checkpoint import EncoderCheckpoint

FORMAT = "emofuse-pretraining-1"


@dataclass(slots=True, kw_only=True)
class PretrainProgress:
    """How far a pre-training is."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Training time so far, over all calls."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Mean loss and share of active triplets, one row per few steps."""


def open_checkpoint(folder: Path) -> EncoderCheckpoint[PretrainProgress]:
    """The checkpoint in a run folder.

    Raises:
        DataError: It is damaged.
    """
    return EncoderCheckpoint(folder, FORMAT, "the run", PretrainProgress)

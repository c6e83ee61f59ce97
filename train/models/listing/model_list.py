"""What `emofuse models` lists of emofuse's own models, without PyTorch, whose import takes longer than the list.

The list is `model_list.json`, which `python -m emofuse.train.models.listing.count_models` writes; a test compares both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
CORPUS = "iemocap"
"""The corpus whose presets the file counts."""
SECONDS, WORDS = 4.55, 17
"""Mean length of IEMOCAP's 5531 utterances, in seconds and in word pieces: the lengths that are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model of the list."""

    name: str
    features: str
    """Its default features."""
    parameters: int
    flops: int
    """Operations of one forward pass over `SECONDS` of speech and `WORDS` word pieces."""
    ablations: int
    description: str


def listed_rows() -> list[ModelRow]:
    """Emofuse's own models by name, with the presets of `CORPUS`."""
    return [ModelRow(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))]

"""What `model_sections` is asked for, and what it is given besides the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from emofuse.train.inspection.projection import Method

Spans = list[tuple[int, int]]
"""One (start, end) per frame of a text: its characters, or (0, 0) where it is of none."""


def _nothing(id: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRequest:
    """The choices of a call, and what is at hand of the corpus."""

    texts: Mapping[str, str] | None = None
    """Id -> text as the encoder read it; None where texts are withheld or unknown."""
    pieces: Callable[[Sequence[str]], list[Spans]] | None = None
    """The characters of each frame of some texts; None where the tokenizer is not at hand."""
    energy: Callable[[str], NDArray[Any] | None] = _nothing
    """Id -> loudness over the whole utterance at equal distances [n], None where it is not known."""
    sound: Callable[[str], str | None] = _nothing
    """Id -> the link to its recording, None where there is none."""
    examples: int = 12
    """How many utterances are shown with what the model weighs."""
    methods: tuple[Method, ...] | None = None
    """Of the maps; None means all that are installed."""
    seed: int | None = None
    """Whose models are shown; None means the first seed of the run."""
    fold: int | None = None
    """The number of the fold whose model is shown; None means the one with most test utterances."""

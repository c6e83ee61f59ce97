"""A text transformer with its own pooling: one vector per text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, cast, runtime_checkable

from emofuse.extract.encoders.base import Array, Encoder, EncoderDefaults, Modality
from emofuse.extract.encoders.blocks.pretrained import Pretrained
from emofuse.extract.encoders.blocks.sentence_pooling import SentencePooling
from emofuse.extract.encoders.blocks.tokenizer import TokenWindow


class TokenEncoder(Encoder, Protocol):
    """An encoder of texts that can give all tokens of its windows."""

    @property
    def pretrained(self) -> Pretrained:
        """The checkpoint."""

    def begin_windows(self, texts: Sequence[str]) -> Callable[[], list[tuple[TokenWindow, Array]]]:
        """Start to encode texts; the returned function gives their windows and all their tokens."""


@runtime_checkable
class Poolable(Protocol):
    """An encoder whose checkpoint may declare a pooling."""

    def pooled(self) -> Encoder:
        """The encoder of one vector per text, on the same weights.

        Raises:
            UsageError: The checkpoint declares no pooling, or one that is not known.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledText(EncoderDefaults):
    """A text transformer whose only frame is the checkpoint's own pooling of the output of its last layer."""

    text: TokenEncoder
    """Gives the last layer."""
    pooling: SentencePooling

    @property
    def pretrained(self) -> Pretrained:
        """The checkpoint."""
        return self.text.pretrained

    @property
    def modality(self) -> Modality:
        """Texts."""
        return "text"

    @property
    def dimension(self) -> int:
        """Size of the pooled vector."""
        return self.pooling.dimension

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis."""
        return ()

    @property
    def frame_rate(self) -> None:
        """Texts have no rate."""

    @property
    def sample_rate(self) -> None:
        """Reads no audio."""

    def identity(self) -> dict[str, Any]:
        """That of the tokens, and the pooling."""
        return {**self.text.identity(), **self.pooling.identity()}

    def provenance(self) -> dict[str, Any]:
        """That of the tokens."""
        return self.text.provenance()

    def length(self, item: int | str) -> int:
        """Number of tokens of a text, by which batches are planned; a view says that one frame is stored."""
        return self.text.length(item)

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [1, D'] per text."""
        return self.begin(items)()

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """Start to encode texts; the returned function waits for the result of `encode`."""
        fetch = self.text.begin_windows([cast(str, item) for item in items])

        def finish() -> list[Array]:
            by_text = groupby(fetch(), key=lambda pair: pair[0].text)
            return [self.pooling.pool([values for _, values in pairs])[None] for _, pairs in by_text]

        return finish

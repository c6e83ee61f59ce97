"""Recomputes every checksum of a store and names what is damaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emofuse.store.reader import FeatureStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What one feature turned out to hold."""

    feature: str
    utterances: int
    bytes: int
    damaged: tuple[str, ...]
    """Ids whose values do not match their checksum."""
    stale: tuple[str, ...]
    """Ids whose audio or text has changed since."""
    complete: bool

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged and self.complete


def verify(path: Path) -> list[Verified]:
    """Read every value of a store against its checksum; opening already checked manifest and indexes.

    Raises:
        UsageError: No store at `path`.
        DataError: So damaged that it does not open.
    """
    with FeatureStore(path) as store:
        return [
            Verified(
                feature=f.name,
                utterances=len(f.lengths),
                bytes=f.nbytes,
                damaged=tuple(f.damaged()),
                stale=tuple(f.stale),
                complete=f.complete,
            )
            for f in store.features.values()
        ]

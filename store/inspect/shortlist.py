"""Long lists in few words: how many, and the first ten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emofuse.common.console import printable

SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortList:
    """A list that was counted, and cut."""

    count: int = 0
    first: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    def words(self, between: str = ", ") -> str:
        """For people: `12: a, b, ... and 2 more`."""
        more = f"{between}... and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return f"{self.count}: " + between.join(printable(item) for item in self.first) + more


def listed(items: Iterable[str]) -> ShortList:
    """Count and cut."""
    every = list(items)
    return ShortList(count=len(every), first=tuple(every[:SHOWN]))

"""Long lists in short: how many items, and the first ten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emofuse.common.output.console import printable

SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortList:
    """The number of items of a list, and the first of them."""

    count: int = 0
    first: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    def text(self, separator: str = ", ") -> str:
        """Such as `12: a, b, ... and 2 more`; safe to print."""
        more = f"{separator}... and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return f"{self.count}: " + separator.join(printable(item) for item in self.first) + more


def shorten(items: Iterable[str]) -> ShortList:
    """Count all items and keep the first ones."""
    all_items = list(items)
    return ShortList(count=len(all_items), first=tuple(all_items[:SHOWN]))

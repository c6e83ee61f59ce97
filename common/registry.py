"""A registry: names that a user types, each with a value and a one-line description.

Other packages add values through entry points, so that your own corpus, encoder or model needs no change here:

    [project.entry-points."emofuse.encoders"]
    energy = "our_package.energy:ENERGY"

The name of the entry point is the name that a user types. Its module is imported when the name is first used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.lazy import lazy_property
from emofuse.common.output.console import warn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One registered value."""

    name: str
    description: str
    value: T
    package: str | None = None
    """The package that registered it through an entry point, with its version; None for emofuse's own."""


class Registry(Generic[T]):
    """Maps names to values of one kind; a duplicate name raises, an unknown name lists the valid ones.

    Args:
        kind: What the values are called in messages.
        group: The group of entry points through which other packages add values.
        expected: The type that these must have.
    """

    def __init__(self, kind: str, group: str = "", expected: type[T] | None = None) -> None:
        self.kind, self.group, self.expected = kind, group, expected
        self._entries: dict[str, Entry[T]] = {}

    def add(self, name: str, description: str, value: T) -> T:
        """Register `value` under `name` and return it."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = Entry(name, description, value)
        return value

    def entry(self, name: str) -> Entry[T]:
        """The entry of a name.

        Raises:
            UnknownNameError: No such name; lists the valid ones and suggests the closest.
            UsageError: Two packages register the name, or the plugin cannot be loaded.
        """
        plugins = self._plugins.get(name, [])
        own = self._entries.get(name)
        if own is None and not plugins:
            raise UnknownNameError(self.kind, name, self.names())
        if len(plugins) > (1 if own is None else own.package is not None):
            packages = [*([] if own is None or own.package else ["emofuse"]), *map(_package, plugins)]
            raise UsageError(
                f"{self.kind} {name!r} is registered by {' and by '.join(packages)}: uninstall all but one of them"
            )
        if own is None:
            own = self._entries[name] = self._load(plugins[0])
        return own

    def __getitem__(self, name: str) -> T:
        return self.entry(name).value

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._plugins

    def __iter__(self) -> Iterator[Entry[T]]:
        """Every entry by name; a plugin that cannot be loaded is reported on stderr and left out."""
        for name in self.names():
            try:
                yield self.entry(name)
            except UsageError as error:
                warn(f"note: {error}")

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted({*self._entries, *self._plugins})

    @lazy_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        """The entry points of each name; one repeated by several folders on the path counts once."""
        plugins: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group) if self.group else ():
            same_name = plugins.setdefault(point.name, [])
            if all((point.value, _package(point)) != (other.value, _package(other)) for other in same_name):
                same_name.append(point)
        return plugins

    def _load(self, point: EntryPoint) -> Entry[T]:
        where = f"{self.kind} {point.name!r} of {_package(point)}"
        try:
            value = point.load()
        except Exception as error:  # a plugin may raise anything
            raise UsageError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
        if self.expected is not None and not isinstance(value, self.expected):
            expected = f"{self.expected.__module__}.{self.expected.__qualname__}"
            raise UsageError(f"{where} is {point.value}, a {type(value).__name__}; expected a {expected}")
        description = (sys.modules[point.module].__doc__ or "").strip().partition("\n")[0]
        return Entry(point.name, description.rstrip("."), value, _package(point))


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"

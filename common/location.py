"""Where a file lies: a path, or a URL such as `s3://bucket/iemocap.h5`."""

from __future__ import annotations

from pathlib import Path

import click

Location = Path | str
"""A path, or a URL as text."""


def location(words: Location) -> Location:
    """A path, or a URL as it is."""
    return words if isinstance(words, str) and "://" in words else Path(words)


class LocationType(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """What a user types for a file that is only read."""

    name = "path"

    def convert(self, value: Location, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """A path or a URL."""
        return location(value)

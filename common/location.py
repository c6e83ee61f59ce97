"""The location of a file: a path, or a URL such as `s3://bucket/iemocap.h5`."""

from __future__ import annotations

from pathlib import Path

import click

Location = Path | str
"""A path, or a URL as text."""


def parse_location(text: Location) -> Location:
    """A `Path`, or a URL unchanged."""
    return text if isinstance(text, str) and "://" in text else Path(text)


def is_remote(location: Location) -> bool:
    """Whether it is a URL, so that opening it may use the network."""
    return isinstance(location, str)


class LocationType(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """The type of a command-line option that names a file to read."""

    name = "path"

    def convert(self, value: Location, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """A path or a URL."""
        return parse_location(value)

"""The location of a file: a path, or a URL such as `s3://bucket/iemocap.h5`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emofuse.common.redaction import redacted

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True, repr=False)
class Url:
    """A URL that may have credentials. As text, for screens and records, it is without them.

    Example:
        >>> str(Url("https://user:password@host/a.h5?signature=12"))
        'https://host/a.h5'
    """

    with_credentials: str
    """As the user gave it, to open it; for nothing else."""

    def __str__(self) -> str:
        return redacted(self.with_credentials)

    def __repr__(self) -> str:
        return repr(str(self))


Location = Path | Url
"""Where a file is."""


def parse_location(text: Location | str) -> Location:
    """A `Url`, or a `Path` for any other text."""
    if isinstance(text, Url):
        return text
    return Url(text) if isinstance(text, str) and "://" in text else Path(text)


def is_remote(location: Location) -> bool:
    """Whether it is a URL, so that opening it may use the network."""
    return isinstance(location, Url)


class LocationType(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """The type of a command-line option that names a file to read."""

    name = "path"

    def convert(self, value: Location | str, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """A path or a URL."""
        return parse_location(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """A shell completes paths; URLs are typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]

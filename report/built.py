"""A page before it is written: what `report` makes of a path."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.page.blocks import Page

"""The name of the page in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPage:
    """A page, and what its files need."""

    page: Page
    folder: Path
    """The run, or the folder of runs."""
    note: str = ""
    """What a reader must know before believing a figure or table that stands alone."""
    remarks: tuple[str, ...] = field(default=())
    """What the page does not show, and why; one sentence each."""

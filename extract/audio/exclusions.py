"""Prints what a reader remarks, and what a command excluded: item by item while it works, as a list at the end."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.errors import DONE, EXCLUDED
from emofuse.common.output.console import plural, warn
from emofuse.manifests.schema import Excluded, Manifest

_MOST_LISTED = 50


def excluded_line(item: Excluded) -> str:
    """One item, for the progress display."""
    return f"excluded {item.id}: {item.reason.partition(': ')[2]}"


def report_notes(manifest: Manifest) -> None:
    """Print what the reader of a corpus remarks, on stderr."""
    for note in manifest.notes:
        warn(f"note: {note}")


def report_excluded(
    items: Sequence[Excluded], noun: str = "item", where: str = "`emofuse store info` lists them"
) -> int:
    """List what was excluded on stderr; returns the exit code that follows from it.

    Args:
        items: What was excluded.
        noun: What one of them is called.
        where: Where to find those beyond the first 50.
    """
    if not items:
        return DONE
    warn(f"{plural(len(items), noun)} excluded:")
    for item in items[:_MOST_LISTED]:
        warn(f"  {item.id}: {item.reason}")
    if len(items) > _MOST_LISTED:
        warn(f"  ... and {len(items) - _MOST_LISTED} more; {where}")
    return EXCLUDED

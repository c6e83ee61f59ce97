"""Prints what a reader remarks, and what a command excluded: item by item while it works, as a list at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from emofuse.common.errors import DONE, EXCLUDED, sanitized
from emofuse.manifests.schema import Excluded, Manifest

_MOST_LISTED = 50


def excluded_line(item: Excluded) -> str:
    """One item, for the progress display."""
    return f"excluded {item.id}: {item.reason.partition(': ')[2]}"


def report_notes(manifest: Manifest) -> None:
    """Print what the reader of a corpus remarks, on stderr."""
    for note in manifest.notes:
        print(sanitized(f"note: {note}"), file=sys.stderr)


def report_excluded(
    items: Sequence[Excluded], things: str = "items", where: str = "`emofuse store info` lists them"
) -> int:
    """List what was excluded on stderr; returns the exit code that follows from it.

    Args:
        items: What was excluded.
        things: What the items are.
        where: Where to find those beyond the first 50.
    """
    if not items:
        return DONE
    print(f"{len(items)} {things} excluded:", file=sys.stderr)
    for item in items[:_MOST_LISTED]:
        print(f"  {item.id}: {item.reason}", file=sys.stderr)
    if len(items) > _MOST_LISTED:
        print(f"  ... and {len(items) - _MOST_LISTED} more; {where}", file=sys.stderr)
    return EXCLUDED

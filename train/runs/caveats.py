"""What a reader must know before believing a run's scores; every output of a run shows these lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def caveats(metrics: Mapping[str, Any]) -> list[str]:
    """The caveats of a run, one short phrase each, from the content of metrics.json."""
    found = []
    if metrics.get("reduced"):
        found.append(f"reduced task: {reduced_counts(metrics['reduced'])}")
    if "limit" in metrics:
        found.append(f"short run: {metrics['limit']} utterances (--limit)")
    return found


def reduced_counts(reduced: Mapping[str, Any]) -> str:
    """How far a task falls short of its protocol's counts."""
    return f"{reduced['found']} of {reduced['expected']} expected utterances (--allow-missing)"

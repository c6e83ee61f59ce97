"""The target of a run, from its metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.errors import DataError
from emofuse.manifests.targets.target import Target, recorded_target

TARGET_SHAPE = {
    "kind": str,
    "classes": [str],
    "dimensions": [{"name": str, "low": float, "high": float, "field": str}],
    "votes_field": str,
    "other_votes": str,
}


def target_of(metrics: Mapping[str, Any]) -> Target:
    """What the run predicts; metrics.json names it where that is not one class.

    Raises:
        DataError: It is not a target.
    """
    try:
        return recorded_target(metrics.get("target"), metrics["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"metrics.json: target is damaged ({error})") from None

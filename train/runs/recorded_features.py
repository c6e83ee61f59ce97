"""The features of a run as its config.json records them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def per_fold_names(record: Mapping[str, Any]) -> list[str]:
    """The names `NAME@N` of a feature that is separate for each fold, in the order of the run's folds; else empty.

    Args:
        record: The feature under `features` of the run's identity.
    """
    names = [name for name in record["fingerprint"] if name.startswith(f"{record['name']}@")]
    return names if len(names) == len(record["fingerprint"]) else []

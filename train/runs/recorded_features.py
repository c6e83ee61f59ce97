"""The features of a run as its config.json records them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def per_fold_names(record: Mapping[str, Any]) -> list[str]:
    """The names `NAME@N` of a feature that is separate for each fold, in the order of the run's folds; else empty.

    Args:
        record: The feature under `features` of the run's identity.
    """
    names = [name for name in record["fingerprint"] if name.startswith(f"{record['name']}@")]
    return names if len(names) == len(record["fingerprint"]) else []


def recorded_features(
    config: Mapping[str, Any], modality: str
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], str]]:
    """Each feature of a modality as config.json records it, with its provenance and how its values are stored.

    One, or those that are combined.
    """
    record, provenance = config["run"]["features"][modality], config.get("provenance", {}).get(modality, {})
    stored = config.get("dtypes", {}).get(modality, "")
    for member in record.get("members", ()):
        name = member["name"]
        yield member, provenance.get(name, {}), stored.get(name, "") if isinstance(stored, Mapping) else ""
    if "members" not in record:
        yield record, provenance, str(stored)

"""What identifies a run, from `run` in its config.json: its task, its features, and its other options as texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FREE_KEYS = ("name", "source", "metrics", "expected", "fold_source", "absent", "unassigned")
"""The fields of a protocol in which runs of one task may differ: they change neither a label nor a fold."""
_NOT_OPTIONS = (
    "features",
    "protocol",
    "seeds",
    "model",
    "ablation",
    "settings",
    "standardised",
    "manifest",
    "corpus",
    "utterances",
)


def feature_names(identity: Mapping[str, Any]) -> dict[str, str]:
    """Modality -> the name of the feature."""
    return {modality: str(feature["name"]) for modality, feature in identity.get("features", {}).items()}


def option_values(identity: Mapping[str, Any]) -> dict[str, str]:
    """Key -> value of the settings and of the other options that identify a run."""
    options = {k: v for k, v in identity.items() if k not in _NOT_OPTIONS and not isinstance(v, Mapping)}
    return {k: _short(v) for k, v in {**identity.get("settings", {}), **options}.items()}


def option_texts(identity: Mapping[str, Any]) -> dict[str, str]:
    """Key -> `key=value` of the same."""
    return {key: f"{key}={value}" for key, value in option_values(identity).items()}


def _short(value: Any) -> str:
    return (
        "+".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )

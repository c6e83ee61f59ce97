"""A run's options as `fit --config` takes them, and the check that they give the same run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.train.resolve.config import FitConfig

_OF_A_CALL = ("out", "runs", "threads", "jobs", "scheduler", "track", "report", "device", "more_stores")
"""Fields of `FitConfig` that say where and how a call computes, not what."""
_NAMES = {"settings": "set"}
"""Field -> option, where they differ by more than hyphens."""


def options_of(config: FitConfig, protocol: str, features: Mapping[str, str]) -> dict[str, Any]:
    """The options of `fit`, resolved: the protocol and the features are named, paths are absolute.

    Args:
        config: The options of the call.
        protocol: The name of the protocol that was chosen.
        features: Modality -> the name of the feature that was chosen.
    """
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in _OF_A_CALL}
    values["store"] = [_absolute(where) for where in (config.store, *config.more_stores)]
    values["protocol"] = _protocol(config.protocol) or protocol
    for modality, feature in features.items():
        values[modality] = values[modality] or feature
    return {
        _NAMES.get(name, name.replace("_", "-")): list(value) if isinstance(value, tuple) else _absolute(value)
        for name, value in values.items()
        if value is not None and value != ()
    }


def _absolute(value: Any) -> Any:
    return str(value.absolute()) if isinstance(value, Path) else value if _is_plain(value) else str(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list)


def _protocol(given: str | None) -> str | None:
    """A protocol's name, or the absolute path of its file."""
    return str(Path(given).absolute()) if given and Path(given).is_file() else given


def refuse_other_run(identity: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Refuse to repeat a run whose options give another run now: the store, a preset or a protocol has changed.

    Args:
        identity: The settings that its options give now.
        run: Its settings, as under the key `run` of its config.json.

    Raises:
        UsageError: Names the settings that differ.
    """
    now = json.loads(json.dumps(identity))
    differing = sorted(key for key in {*now, *run} - {"seeds"} if now.get(key) != run.get(key))
    if differing:
        raise UsageError(
            f"--config is of a run that cannot be repeated: {', '.join(differing)} differ now, as the stores, the "
            "protocol or a preset has changed since; give an option on the command line to train another run from it"
        )

"""Nested mappings, such as a config, as one level with dotted keys, for tables and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of mappings as one, with keys such as `audio.resampling.rolloff`; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    open_levels = [("", iter(nested.items()))]  # no recursion: files may nest as deep as JSON allows
    while open_levels:
        prefix, items = open_levels[-1]
        for key, value in items:
            if isinstance(value, Mapping) and value:
                open_levels.append((f"{prefix}{key}.", iter(value.items())))
                break
            flat[f"{prefix}{key}"] = value
        else:
            open_levels.pop()
    return flat


def plain_text(value: Any) -> str:
    """A value of a config as text: the items of a list one after another, and nothing for None and empty mappings."""
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_text, value))
    return "" if value is None or value == {} else str(value)

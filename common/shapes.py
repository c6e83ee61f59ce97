"""The shape that a JSON value must have, and where an untrusted one differs from it.

A shape is a type (`float` is any finite number, `object` anything), None, a tuple of alternatives, `[shape]` for a
list, `{str: shape}` for an object with any keys, or `{"key": shape, "other?": shape}` for one with these keys, the
second of them optional, and any others.
"""

from __future__ import annotations

import sys
from typing import Any

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}
_LONGEST = 60


def misfits(value: Any, shape: Any, name: str) -> list[str]:
    """What is wrong with a value, such as `folds[0].step is 'x', expected a whole number`; empty if it fits.

    Args:
        value: Parsed JSON.
        shape: What it must be.
        name: What it is called in the messages.
    """
    return [] if _fits(value, shape) else _misfits(value, shape, name)


def _fits(value: Any, shape: Any) -> bool:
    """Whether there are no misfits: what nearly every value takes, several times as fast as naming each part."""
    if isinstance(shape, tuple):
        return any(_fits(value, one) for one in shape)
    if isinstance(shape, list) and isinstance(value, list):
        return all(_fits(item, shape[0]) for item in value)
    if isinstance(shape, dict) and isinstance(value, dict):
        if str in shape:
            return all(_fits(item, shape[str]) for item in value.values())
        names = {key: key.removesuffix("?") for key in shape}
        return all(_fits(value[bare], shape[key]) if bare in value else bare != key for key, bare in names.items())
    return _is(value, shape)


def _misfits(value: Any, shape: Any, name: str) -> list[str]:
    if isinstance(shape, tuple):
        if _fits(value, shape):
            return []
        return [f"{name} is {_shown(value)}, expected {' or '.join(map(_described, shape))}"]
    if isinstance(shape, list) and isinstance(value, list):
        return [m for i, item in enumerate(value) for m in _misfits(item, shape[0], f"{name}[{i}]")]
    if isinstance(shape, dict) and isinstance(value, dict):
        return _misfits_of_object(value, shape, name)
    return [] if _is(value, shape) else [f"{name} is {_shown(value)}, expected {_described(shape)}"]


def _misfits_of_object(value: dict[str, Any], shape: dict[Any, Any], name: str) -> list[str]:
    if str in shape:
        return [m for key, item in value.items() for m in _misfits(item, shape[str], f"{name}.{key[:_LONGEST]}")]
    found = []
    for key, expected in shape.items():
        bare = key.removesuffix("?")
        if bare in value:
            found += _misfits(value[bare], expected, f"{name}.{bare}")
        elif bare == key:
            found.append(f"{name} has no {key}")
    return found


def _is(value: Any, shape: Any) -> bool:
    if shape is object or shape is None:
        return shape is object or value is None
    if not isinstance(shape, type) or (isinstance(value, bool) and shape is not bool):
        return False
    if shape is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # not NaN, and no huge integer
    return isinstance(value, shape)


def _described(shape: Any) -> str:
    if isinstance(shape, list | dict):
        return "a list" if isinstance(shape, list) else "an object"
    return "null" if shape is None else _NAMES.get(shape, "a list")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."

"""Checks the structure of parsed TOML or JSON, and names every mistake at once."""

from __future__ import annotations

from typing import Any

from emofuse.common.errors import nearest

_TYPE_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def shape_problems(value: Any, shape: Any, where: str = "") -> list[str]:
    """Where `value` differs from `shape`, one line each.

    Args:
        value: What was parsed.
        shape: A type (str, int, float, bool); `[shape]`, a list of this shape; `{str: shape}`, a table with values of
            this shape; or a table of known keys, each with its shape.
        where: The name of `value` in messages.
    """
    if isinstance(shape, type):
        return [] if _has_type(value, shape) else [f"{where} is {value!r}, expected {_TYPE_NAMES[shape]}"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is {value!r}, expected a list"]
        return [p for n, item in enumerate(value, 1) for p in shape_problems(item, shape[0], f"{where}, item {n},")]
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, expected a table"]
    if str in shape:
        return [p for k, item in value.items() for p in shape_problems(item, shape[str], f"{where}.{k}")]
    known, between = ", ".join(sorted(shape)), " " if where.endswith(",") else "."
    full = {k: f"{where}{between}{k}" if where else k for k in value}
    unknown = [k for k in sorted(value) if k not in shape]
    problems = [f"unknown key {full[k]}; known: {known}{_guess(k, shape)}" for k in unknown]
    return problems + [p for k, v in value.items() if k in shape for p in shape_problems(v, shape[k], full[k])]


def _guess(key: str, shape: dict[str, Any]) -> str:
    closest = nearest(key, shape)
    return f"; did you mean {closest}?" if closest else ""


def _has_type(value: Any, expected: type) -> bool:
    """Whether `value` is of a type, where true and false are not numbers and a whole number is a float too."""
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, (int, float) if expected is float else expected)

"""Whether parsed TOML or JSON has the shape it should have, with every departure named at once."""

from __future__ import annotations

from typing import Any

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def misshapen(value: Any, shape: Any, where: str = "") -> list[str]:
    """Where `value` departs from `shape`, one line each.

    Args:
        shape: A type (str, int, float, bool); `[shape]`, a list of such; `{str: shape}`, a table of such; or a table of
            known keys, each with its shape.
        where: What `value` is called.
    """
    if isinstance(shape, type):
        right = isinstance(value, (int, float) if shape is float else shape)
        right = right and (shape is bool or not isinstance(value, bool))
        return [] if right else [f"{where} is {value!r}, expected {_WORDS[shape]}"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is {value!r}, expected a list"]
        return [p for n, item in enumerate(value, 1) for p in misshapen(item, shape[0], f"{where}, item {n},")]
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, expected a table"]
    if str in shape:
        return [p for k, item in value.items() for p in misshapen(item, shape[str], f"{where}.{k}")]
    known, between = ", ".join(sorted(shape)), " " if where.endswith(",") else "."
    full = {k: f"{where}{between}{k}" if where else k for k in value}
    problems = [f"unknown key {full[k]}; known: {known}" for k in sorted(value) if k not in shape]
    return problems + [p for k, v in value.items() if k in shape for p in misshapen(v, shape[k], full[k])]

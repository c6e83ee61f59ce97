"""Ways in which a file of a run may be damaged or altered, for the tests of everything that reads it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path], Any]


def edited(change: Callable[[Any], Any]) -> Damage:
    """Edit the content of a JSON file in place."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def replaced(old: str, new: str) -> Damage:
    """Replace the first `old` in a text."""

    def damage(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def written(content: bytes) -> Damage:
    """Replace the whole content."""
    return lambda path: path.write_bytes(content)


def truncated(path: Path) -> None:
    """Cut the last quarter off."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])


def nested(depth: int = 100_000) -> bytes:
    """JSON that is nested too deeply."""
    return b'{"run":' * depth + b"1" + b"}" * depth


PICKLE = pickle.dumps({"weights": [0.5, 0.25]})
"""A pickle named as if it were something else."""
BROKEN: dict[str, Damage] = {
    "empty": written(b""),
    "list": written(b"[]"),
    "number": written(b"3"),
    "nested": written(nested()),
    "nested list": written(b"[" * 100_000),
    "binary": written(bytes(range(256)) * 4),
    "pickle": written(PICKLE),
    "nan": written(b"NaN"),
    "truncated": truncated,
    "zeros": written(bytes(500)),
    "object": written(b"{}"),
}
"""What breaks any file."""

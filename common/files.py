"""Small files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path


def put(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all; a full disk is an `OSError` that names it."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        error.filename = str(path)
        raise

"""What an encoder was fitted on, as a user says it and as a feature's provenance keeps it."""

from __future__ import annotations

from typing import Any

from emofuse.common.errors import UsageError


def parse_fitted_on(words: str) -> list[dict[str, Any]]:
    """What an encoder was fitted on with labels: `none`, a corpus, or a corpus with its sessions, speakers or split.

    Raises:
        UsageError: Anything else.
    """
    if words == "none":
        return []
    corpus, _, part = words.partition(":")
    key, _, values = part.partition("=")
    if not corpus or (part and (key not in ("session", "speaker", "split") or not values)):
        raise UsageError(f"--fitted-on {words!r}: say none, CORPUS, or CORPUS:session=1,2 (or speaker=..., split=...)")
    return [{"corpus": corpus, "labels": True, **({f"{key}s": values.split(",")} if part else {})}]

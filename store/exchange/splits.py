"""The sides train, valid and test of an export, for formats that are divided so."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.manifests.schema import Utterance

SIDES = ("train", "valid", "test")
KEYS = ("id", "session", "speaker", "split", "dialogue", "label")
"""What --valid and --test choose utterances by."""


def sides_of(utterances: Sequence[Utterance], valid: str | None, test: str | None) -> dict[str, str]:
    """The side of each utterance: what --valid and --test say, otherwise the corpus's own split.

    Raises:
        UsageError: Neither says it, or a side is empty.
    """
    if valid is None and test is None:
        found = {u.id: "valid" if u.split == "dev" else u.split for u in utterances}
        silent = [u.id for u in utterances if u.split not in ("train", "dev", "test")]
        if silent:
            raise UsageError(
                f"the format has sides train, valid and test, but {len(silent)} utterances, {silent[0]!r} first, have "
                "no official split; say them with --valid session=4 --test session=5"
            )
        sides = {id: side for id, side in found.items() if side is not None}
    else:
        chosen = {side: _selected(utterances, side, words) for side, words in (("valid", valid), ("test", test))}
        both = chosen["valid"] & chosen["test"]
        if both:
            raise UsageError(f"--valid and --test share {len(both)} utterances, {min(both)!r} first")
        sides = {u.id: next((s for s, ids in chosen.items() if u.id in ids), "train") for u in utterances}
    empty = [side for side in SIDES if side not in sides.values()]
    if empty:
        raise UsageError(f"no utterance is on side {' and '.join(empty)}; say the sides with --valid and --test")
    return sides


def _selected(utterances: Sequence[Utterance], side: str, words: str | None) -> set[str]:
    if words is None:
        raise UsageError("--valid and --test go together")
    key, _, values = words.partition("=")
    if key not in KEYS or not values:
        raise UsageError(f"--{side} {words!r}: say KEY=VALUE,... with one of {', '.join(KEYS)}")
    asked = set(values.split(","))
    absent = asked - {str(getattr(u, key)) for u in utterances}
    if absent:
        raise UnknownNameError(f"{key} in --{side}", min(absent), {str(getattr(u, key)) for u in utterances})
    return {u.id for u in utterances if getattr(u, key) in asked}

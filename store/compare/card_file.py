"""Reads a card that came from anybody: its size, its shape and its own digest are checked before it is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Location
from emofuse.store.compare.card import FORMAT, VERSION, digest_of, make_card
from emofuse.store.core.fitted_on import normal
from emofuse.store.core.reader import FeatureStore
from emofuse.store.hdf5.file_types import is_hdf5

LARGEST = 1 << 26
"""Bytes of a card, at most: about half a million utterances."""
HEX = frozenset("0123456789abcdef")


def card_at(where: Location) -> dict[str, Any]:
    """The card in a file, or that of a store.

    Raises:
        UsageError: Nothing there, or neither a card nor a store.
        DataError: A card that was changed or cut, or a damaged store.
    """
    if isinstance(where, Path) and where.is_file() and not is_hdf5(where):
        return read_card(where)
    with FeatureStore(where) as store:
        return make_card(store)


def read_card(path: Path) -> dict[str, Any]:
    """Read what `store card --out` wrote.

    Raises:
        UsageError: No card, one that is too large, or of a newer version.
        DataError: It does not match its own digest.
    """
    if not path.is_file():
        raise UsageError(f"no card at {path}; make one: emofuse store card STORE --out {path}")
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST} bytes: a card is not")
    try:
        card = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            raise ValueError(f'it is no JSON object with "format": "{FORMAT}"')
        version: Any = card.get("version")
        if not _count(version) or version > VERSION:
            told = f"{path} is a card of version {printable(repr(version), 40)}; this emofuse knows {VERSION}"
            raise UsageError(f"{told}: update emofuse")
        _check(card)
        digest = digest_of(card)
    except (ValueError, RecursionError) as error:  # also what is no UTF-8, and numbers of thousands of digits
        raise UsageError(f"{path} is no card of a store: {printable(str(error), 300)}") from None
    if digest != card["digest"]:
        raise DataError(f"{path} does not match its own digest: it was changed since it was made; ask for it again")
    return card


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _number(value: Any) -> bool:
    return _count(value) or (isinstance(value, float) and math.isfinite(value) and value >= 0)


def _digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 32 and set(value) <= HEX


def _maybe(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_count, value.values()))


def _sessions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_counts, value.values()))


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int) for v in value)


def _fitted_on(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(e, dict) and normal([e]) == [e] for e in value)


CARD = {
    "format": _text, "version": _count, "corpus": _text, "reader": _text, "hours": _number, "speakers": _count,
    "excluded": _count, "labels": _counts, "sessions": _sessions, "utterances": _list, "features": _object,
    "digest": _digest,
}  # fmt: skip
UTTERANCE = {"id": _text, "seconds": _maybe(_number), "audio_digest": _maybe(_digest)}
FEATURE = {
    "modality": _text, "encoder": _text, "view": _text, "dtype": _text, "dimension": _count, "layers": _numbers,
    "frame_rate": _maybe(_number), "utterances": _count, "frames": _count, "fingerprint": _object,
    "fitted_on": _fitted_on, "marks": _digest,
}  # fmt: skip


def _check(card: dict[str, Any]) -> None:
    """Raises ValueError where a field is absent, unknown or of another kind."""
    _fields(card, CARD, "the card")
    seen: set[str] = set()
    for number, u in enumerate(card["utterances"], 1):
        _fields(u, UTTERANCE, f"utterance {number}")
        if u["id"] in seen:
            raise ValueError(f"utterance {u['id']!r} occurs twice")
        seen.add(u["id"])
    for name, feature in card["features"].items():
        _fields(feature, FEATURE, f"feature {name!r}")


def _fields(found: Any, expected: Mapping[str, Callable[[Any], bool]], where: str) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{where} is {type(found).__name__}, expected an object")
    if found.keys() != expected.keys():
        odd = sorted(map(repr, found.keys() ^ expected.keys()))
        raise ValueError(f"{where} lacks or adds {', '.join(odd[:5])}")
    for name, fits in expected.items():
        if not fits(found[name]):
            raise ValueError(f"{name} of {where} is {str(found[name])[:60]!r}")

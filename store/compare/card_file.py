"""Reads a card from an untrusted file: its size, its fields and its digest are checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Location
from emofuse.common.output.console import printable
from emofuse.store.compare.card import FORMAT, VERSION, digest_of, make_card
from emofuse.store.core.fitted_on import normalise_fitted_on
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
        UsageError: Not a card, one that is too large, or one of a newer version.
        DataError: It does not match its own digest.
    """
    if not path.is_file():
        raise UsageError(f"no card at {path}; make one: emofuse store card STORE --out {path}")
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST} bytes, and so is not a card")
    try:
        card = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            raise ValueError(f'it is not a JSON object with "format": "{FORMAT}"')
        version: Any = card.get("version")
        if not _is_count(version) or version > VERSION:
            raise UsageError(
                f"{path} is a card of version {printable(repr(version), 40)}; this emofuse reads version {VERSION}: "
                "update emofuse"
            )
        _check_card(card)
        digest = digest_of(card)
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8, and numbers of thousands of digits
        raise UsageError(f"{path} is not a card of a store: {printable(str(error), 300)}") from None
    if digest != card["digest"]:
        raise DataError(f"{path} does not match its own digest: it was changed since it was made; ask for it again")
    return card


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, float) and math.isfinite(value) and value >= 0)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 32 and set(value) <= HEX


def _optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_sessions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_counts, value.values()))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_integers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int) for v in value)


def _is_fitted_on(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(e, dict) and normalise_fitted_on([e]) == [e] for e in value)


CARD_FIELDS = {
    "format": _is_text, "version": _is_count, "corpus": _is_text, "reader": _is_text, "hours": _is_number,
    "speakers": _is_count, "excluded": _is_count, "labels": _is_counts, "sessions": _is_sessions,
    "utterances": _is_list, "features": _is_object, "digest": _is_digest,
}  # fmt: skip
UTTERANCE_FIELDS = {"id": _is_text, "seconds": _optional(_is_number), "audio_digest": _optional(_is_digest)}
FEATURE_FIELDS = {
    "modality": _is_text, "encoder": _is_text, "view": _is_text, "dtype": _is_text, "dimension": _is_count,
    "layers": _is_integers, "frame_rate": _optional(_is_number), "utterances": _is_count, "frames": _is_count,
    "fingerprint": _is_object, "fitted_on": _is_fitted_on, "marks": _is_digest,
}  # fmt: skip


def _check_card(card: dict[str, Any]) -> None:
    """Check every field of a card.

    Raises:
        ValueError: A field is missing, unknown or invalid, or an utterance occurs twice.
    """
    _check_fields(card, CARD_FIELDS, "the card")
    seen: set[str] = set()
    for number, u in enumerate(card["utterances"], 1):
        _check_fields(u, UTTERANCE_FIELDS, f"utterance {number}")
        if u["id"] in seen:
            raise ValueError(f"utterance {u['id']!r} occurs twice")
        seen.add(u["id"])
    for name, feature in card["features"].items():
        _check_fields(feature, FEATURE_FIELDS, f"feature {name!r}")


def _check_fields(value: Any, checks: Mapping[str, Callable[[Any], bool]], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {type(value).__name__}, expected an object")
    if value.keys() != checks.keys():
        odd = sorted(map(repr, value.keys() ^ checks.keys()))
        raise ValueError(f"{where} has missing or unknown fields: {', '.join(odd[:5])}")
    for name, is_valid in checks.items():
        if not is_valid(value[name]):
            raise ValueError(f"{name} of {where} is {str(value[name])[:60]!r}")

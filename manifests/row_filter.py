"""Which utterances a protocol selects by their values: `where = { scenario = "improvised" }`.

A key is a field of the utterance or a key of its extra annotation. In a protocol over several corpora, each corpus has
its own table, and a key carries its corpus, as names do: `iemocap:scenario`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emofuse.manifests.names.joint import PREFIXED_FIELDS, SEPARATOR, corpus_of, joined_name, own_name
from emofuse.manifests.names.spellings import NameRules
from emofuse.manifests.schema import Utterance

Where = Mapping[str, tuple[str, ...]]
"""Key -> the values that are selected; an utterance must have one of them for every key."""
FIELDS = ("id", "label", "speaker", "session", "dialogue", "turn", "split", "text_kind")
"""The fields of an utterance that can be filtered by; any other key is looked up in `Utterance.extra`."""
_VALUES_SHOWN = 12
"""How many values a message lists."""


def as_lists(where: Any) -> Any:
    """The table of a TOML file with lists of texts as values, also in the tables of several corpora."""
    if isinstance(where, dict):
        return {key: as_lists(value) if isinstance(value, dict) else _texts(value) for key, value in where.items()}
    return where


def _texts(value: Any) -> Any:
    """A text or number as a list of one, numbers as text; what else it may be is refused later."""
    values = value if isinstance(value, list) else [value]
    return [_text(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values]


def _text(value: Any) -> str:
    """Whole numbers have no decimal point."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def joined_where(where: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """The tables of several corpora as one, whose keys, and values that are names, carry their corpus."""
    return {
        joined_name(corpus, key): tuple(joined_name(corpus, v) if key in PREFIXED_FIELDS else v for v in values)
        for corpus, table in where.items()
        for key, values in table.items()
    }


def selects(where: Where, utterance: Utterance, names: Mapping[str, NameRules]) -> bool:
    """Whether an utterance has a selected value for every key.

    Args:
        where: The filter; keys of other corpora than the utterance's have no effect.
        utterance: Its names carry their corpus where the keys of `where` do.
        names: The other spellings of names; the filter gives the name that they mean.
    """
    return all(_value(utterance, key, names) in values for key, values in where.items() if _concerns(key, utterance))


def where_text(where: Mapping[str, Sequence[str]]) -> str:
    """Such as `scenario improvised, sex female or male`; empty for no filter."""
    return ", ".join(f"{key} {' or '.join(values)}" for key, values in where.items())


def where_problems(where: Where, utterances: Iterable[Utterance], names: Mapping[str, NameRules]) -> list[str]:
    """Keys that no utterance of their corpus has, and values that none has, one line each with the valid ones."""
    every, problems = list(utterances), []
    for key, wanted in where.items():
        members = [u for u in every if _concerns(key, u)]
        found = Counter(value for u in members if (value := _value(u, key, names)) is not None)
        if not found:
            problems.append(f"where.{key}: no utterance has {_own_key(key)!r}; keys: {', '.join(_keys(members))}")
            continue
        unknown = [value for value in wanted if value not in found]
        if unknown:
            listed = [f"{value} {n}" for value, n in found.most_common(_VALUES_SHOWN)]
            more = f", ... ({len(found)})" if len(found) > _VALUES_SHOWN else ""
            problems.append(
                f"where.{key}: no utterance has {' or '.join(map(repr, unknown))}; values: {', '.join(listed)}{more}"
            )
    return problems


def _concerns(key: str, utterance: Utterance) -> bool:
    return SEPARATOR not in key or corpus_of(key) == corpus_of(utterance.id)


def _own_key(key: str) -> str:
    return own_name(key) if SEPARATOR in key else key


def _value(utterance: Utterance, key: str, names: Mapping[str, NameRules]) -> str | None:
    """The value as text, names in their one spelling; whole numbers have no decimal point."""
    own = _own_key(key)
    value = getattr(utterance, own) if own in FIELDS else utterance.extra.get(own)
    if value is None:
        return None
    text = _text(value)
    return names[own].name(text) if own in names else text


def _keys(utterances: Sequence[Utterance]) -> list[str]:
    """The keys that these utterances can be filtered by."""
    fields = [key for key in FIELDS if any(getattr(u, key) is not None for u in utterances)]
    return fields + sorted({key for u in utterances for key in u.extra})

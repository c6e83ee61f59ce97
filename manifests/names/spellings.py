"""Names of speakers, sessions and dialogues that may be one name in several spellings: `1`, `1.0`, `01`; `F1`, `f1 `.

Tables that were joined, or numbers that passed through a data frame, spell one person in several ways. Folds by speaker
would then train on the person that they test. Names that look the same are therefore refused where folds keep them
apart, until the protocol says whether they are the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

NAMED = ("speaker", "session", "dialogue")
"""The attributes of an utterance whose values are names that a protocol can map."""
_INTEGRAL = re.compile(r"\d+\.0*")
_TOKEN = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRules:
    """What a protocol says about the names of one attribute."""

    same: Mapping[str, str] = field(default_factory=dict)
    """Another spelling -> the name that it means."""
    distinct: tuple[tuple[str, ...], ...] = ()
    """Names that look the same and are different."""

    def name(self, given: str | None) -> str | None:
        """The name that a spelling means."""
        return given if given is None else self.same.get(given, given)


def name_key(name: str) -> tuple[str, ...]:
    """What is equal for names that look the same.

    Ignored are case, the width of characters (Unicode NFKC), spaces and punctuation around letters and numbers, leading
    zeros, and the `.0` of a number. Letters and numbers stay apart: `1_11` and `11_1` are different names.
    """
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    if _INTEGRAL.fullmatch(text):
        text = text.partition(".")[0]
    return tuple(part.lstrip("0") or "0" if part.isdigit() else part for part in _TOKEN.findall(text)) or (text,)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts `10` after `9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def similar_names(groups_of: Mapping[str, set[str]], rules: NameRules) -> list[tuple[str, ...]]:
    """The names that look the same although folds keep them apart, and that `rules` do not declare distinct.

    Args:
        groups_of: Name -> the groups of utterances (folds, splits) in which it occurs.
        rules: What the protocol says about these names.

    Returns:
        Each set of such names, sorted.
    """
    by_key: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(groups_of):
        by_key.setdefault(name_key(name), []).append(name)
    return [
        tuple(names)
        for names in by_key.values()
        if len(names) > 1
        and len(set.union(*(groups_of[name] for name in names))) > 1
        and not any(set(names) <= set(declared) for declared in rules.distinct)
    ]


def rule_problems(attribute: str, rules: NameRules) -> list[str]:
    """Rules that contradict each other or have no effect, one line each."""
    where = f"names.{attribute}"
    problems = [
        f"{where}.same: {spelling!r} means {name!r}, which itself means {rules.same[name]!r}: name the last one"
        for spelling, name in rules.same.items()
        if name in rules.same
    ]
    for declared in rules.distinct:
        if len({name_key(name) for name in declared}) != 1 or len(set(declared)) < 2:
            problems.append(f"{where}.distinct: {_listed(declared)} are not two or more names that look the same")
        renamed = [name for name in declared if name in rules.same]
        if renamed:
            problems.append(f"{where}: {_listed(renamed)} cannot be both the same as another name and distinct")
    return problems


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))

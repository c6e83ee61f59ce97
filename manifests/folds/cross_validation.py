"""Cross-validation folds: the train, validation and test side of each, checked for leaks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from emofuse.common.errors import UnknownNameError, UsageError, raise_problems
from emofuse.manifests.folds.sides_from_file import file_sides
from emofuse.manifests.names.joint import corpus_of
from emofuse.manifests.names.spellings import NAMED, NameRules, natural_key, similar_names
from emofuse.manifests.protocol import SPLITS, Protocol
from emofuse.manifests.schema import Utterance

Select = Literal["validation", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One division of the task's utterances into train, validation and test."""

    number: int
    """Starts at 1."""
    name: str
    """The group (or the other corpus) that is tested."""
    validated: str | None
    """The group that selects the checkpoint; None with `--select last`."""
    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    @property
    def sides(self) -> dict[str, tuple[Utterance, ...]]:
        """The three sides by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def members(self) -> tuple[Utterance, ...]:
        """The utterances of all sides."""
        return (*self.train, *self.validation, *self.test)

    def subset(self, utterances: Iterable[Utterance]) -> Fold:
        """The same fold with only some of its utterances."""
        kept = {u.id for u in utterances}
        sides: dict[str, Any] = {k: tuple(u for u in side if u.id in kept) for k, side in self.sides.items()}
        return replace(self, **sides)


def stratified_sample(utterances: Sequence[Utterance], protocol: Protocol, limit: int) -> tuple[Utterance, ...]:
    """At most `limit` utterances in their order: equally many of each class in each group, evenly spaced."""
    cells: dict[tuple[str, tuple[str, ...]], list[Utterance]] = {}
    for utterance in utterances:
        cells.setdefault((protocol.group_of(utterance), protocol.classes_of(utterance)), []).append(utterance)
    quota = dict.fromkeys(cells, 0)
    remaining = min(limit, len(utterances))
    while remaining:
        for key in [k for k, members in cells.items() if quota[k] < len(members)][:remaining]:
            quota[key] += 1
            remaining -= 1
    kept = {members[i * len(members) // quota[key]].id for key, members in cells.items() for i in range(quota[key])}
    return tuple(u for u in utterances if u.id in kept)


def limit_folds(
    utterances: Sequence[Utterance], folds: Sequence[Fold], protocol: Protocol, limit: int
) -> tuple[tuple[Utterance, ...], list[Fold]]:
    """A stratified sample of at most `limit` utterances, and the folds of the sample.

    Raises:
        UsageError: A side of a fold would be empty.
    """
    kept = stratified_sample(utterances, protocol, limit)
    limited = [fold.subset(kept) for fold in folds]
    emptied = [
        f"fold {f.number} has no utterance left on its {side} side"
        for f in limited
        for side, members in f.sides.items()
        if not members and (side != "validation" or f.validated)
    ]
    raise_problems(emptied, "--limit is too low")
    return kept, limited


def select_folds(folds: Sequence[Fold], selection: str) -> list[Fold]:
    """The folds that `--folds` selects: `all`, or numbers such as `1,3`.

    Raises:
        UnknownNameError: No fold has one of the numbers.
    """
    if selection == "all":
        return list(folds)
    by_number = {str(f.number): f for f in folds}
    numbers = [n.strip() for n in selection.split(",")]
    for number in numbers:
        if number not in by_number:
            raise UnknownNameError("fold", number, by_number, "Several: --folds 1,3.")
    return [f for f in folds if str(f.number) in numbers]


def build_folds(protocol: Protocol, utterances: Sequence[Utterance], select: Select) -> list[Fold]:
    """All folds of a protocol, checked for leaks.

    Validation is the next group, the official dev split, what the file of the folds has (`file_folds` otherwise), or,
    where another corpus is tested, the groups that the protocol names. With `last` it is added to training, except for
    an official dev split and the validation side of a file, which are left unused.

    Raises:
        UsageError: Too few groups, an empty official split, utterances of no fold, names that look the same in
            different groups, or sides that are not disjoint as the protocol requires.
    """
    check_groups(protocol, utterances)
    check_spellings(protocol, utterances)
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(protocol.group_of(utterance), []).append(utterance)
    if protocol.test_corpus:
        folds = [_other_corpus_fold(protocol, groups, select)]
    elif protocol.fold_file:
        folds = _file_folds(protocol, utterances, select)
    elif protocol.fold_by == "split":
        folds = [_official_fold(groups, select)]
    else:
        folds = _group_folds(protocol, groups, select)
    allow = ' (a file may allow what is shared: leave it out of "disjoint" under [folds])' if protocol.fold_file else ""
    raise_problems(_leaks(protocol, folds), f"protocol {protocol.name}: folds leak{allow}")
    return folds


def check_groups(protocol: Protocol, utterances: Sequence[Utterance]) -> None:
    """Refuse utterances that are in no fold, instead of dropping them.

    Raises:
        UsageError: Lists the unknown values of what forms the folds, each with its count.
    """
    by, split = protocol.grouping, protocol.fold_by == "split"
    known = SPLITS if split else tuple(value for group in protocol.fold_groups for value in group)
    counts = Counter(protocol.fold_value(u) for u in utterances if not protocol.is_test_only(u))
    unknown = {value: n for value, n in counts.items() if value is None or (known and value not in known)}
    if not unknown:
        return
    listed = [f"{'(none)' if v is None else v} {n}" for v, n in sorted(unknown.items(), key=lambda i: str(i[0]))]
    shown = ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
    annotation = by if protocol.joint else f"corpus's {by}"
    remedy = "" if split else ", or name these values under [folds] groups in your own protocol (--protocol PATH.toml)"
    raise UsageError(
        f"protocol {protocol.name} forms its folds by {by}, and {sum(unknown.values())} of {len(utterances)} "
        f"utterances are in none of them: {shown}; valid: {', '.join(known) if known else f'any {by}'}. "
        f"Correct the {annotation} and extract again{remedy}"
    )


def check_spellings(protocol: Protocol, utterances: Sequence[Utterance]) -> None:
    """Refuse names that may be one name in several spellings, where the folds keep them apart.

    Raises:
        UsageError: Lists these names by attribute, and how the protocol says what they are.
    """
    groups_of: dict[tuple[str, str], dict[str, set[str]]] = {}
    for utterance in utterances:
        corpus, group = corpus_of(utterance.id) if protocol.joint else "", protocol.group_of(utterance)
        for attribute in protocol.keeps_apart(utterance):
            name = getattr(utterance, attribute) if attribute in NAMED else None
            if name is not None:
                groups_of.setdefault((attribute, corpus), {}).setdefault(name, set()).add(group)
    found = [
        (attribute, names)
        for (attribute, _), of_names in groups_of.items()
        for names in similar_names(of_names, protocol.names.get(attribute, NameRules()))
    ]
    if found:
        raise UsageError(_spelling_message(protocol, found))


def _spelling_message(protocol: Protocol, found: Sequence[tuple[str, Sequence[str]]]) -> str:
    attribute, names = found[0]
    shortest = min(names, key=len)
    same = ", ".join(f"{json.dumps(n)} = {json.dumps(shortest)}" for n in names if n != shortest)
    lines = [f"\n  - {attribute}s {', '.join(map(repr, names))}" for attribute, names in found[:20]]
    more = f"\n  - ... and {len(found) - 20} more" if len(found) > 20 else ""
    return (
        f"protocol {protocol.name}: its folds keep names apart that look like one name in several spellings:"
        f"{''.join(lines)}{more}\nSay in a protocol file (--protocol PATH.toml; `emofuse help protocols`), under "
        f"[names.{attribute}], that they are the same, such as same = {{ {same} }}, or that they differ, "
        f"distinct = [{json.dumps(list(names))}]"
    )


def _official_fold(groups: Mapping[str, list[Utterance]], select: Select) -> Fold:
    """The single fold of an official split."""
    needed = [s for s in SPLITS if s != "dev" or select == "validation"]
    empty = [s for s in needed if not groups.get(s)]
    if empty:
        have = ", ".join(f"{name} {len(group)}" for name, group in sorted(groups.items()))
        raise UsageError(f"the official split has no usable {' and no usable '.join(empty)} utterances; it has: {have}")
    train, dev, test = (tuple(groups.get(s, ())) for s in SPLITS)
    validates = select == "validation"
    return Fold(
        number=1,
        name="test",
        validated="dev" if validates else None,
        train=train,
        validation=dev if validates else (),
        test=test,
    )


def _group_folds(protocol: Protocol, groups: Mapping[str, list[Utterance]], select: Select) -> list[Fold]:
    declared = ["+".join(g) for g in protocol.fold_groups]
    names = [n for n in declared if n in groups] if declared else sorted(groups, key=natural_key)
    minimum = 3 if select == "validation" else 2
    if len(names) < minimum:
        raise UsageError(
            f"protocol {protocol.name} forms folds by {protocol.fold_by}, and there are {len(names)}; "
            f"{'with' if select == 'validation' else 'without'} validation at least {minimum} are needed"
            f"{'; pass --select last, which needs 2' if select == 'validation' and len(names) == 2 else ''}"
        )
    folds = []
    for i, name in enumerate(names):
        validated = names[(i + 1) % len(names)] if select == "validation" else None
        folds.append(
            Fold(
                number=i + 1,
                name=name,
                validated=validated,
                train=tuple(u for n in names if n not in (name, validated) for u in groups[n]),
                validation=tuple(groups[validated]) if validated else (),
                test=tuple(groups[name]),
            )
        )
    return folds


def _file_folds(protocol: Protocol, utterances: Sequence[Utterance], select: Select) -> list[Fold]:
    """The folds of a file."""
    every = file_sides(protocol, utterances, select == "validation")
    folds = [Fold(number=number, **sides._asdict()) for number, sides in enumerate(every, 1)]
    empty = [
        f"fold {fold.name} has no utterance on its {side} side"
        for fold in folds
        for side, members in fold.sides.items()
        if not members and (side != "validation" or fold.validated)
    ]
    raise_problems(empty, f"protocol {protocol.name}: the folds of {protocol.fold_source} do not match this corpus")
    return folds


def _other_corpus_fold(protocol: Protocol, groups: Mapping[str, list[Utterance]], select: Select) -> Fold:
    """The single fold that tests another corpus."""
    assert protocol.joint is not None
    assert protocol.test_corpus is not None
    train, validation, test = (tuple(groups.get(side, ())) for side in ("train", "validation", "test"))
    raise_problems(
        [f"no utterance to {side}" for side, members in (("train", train), ("test", test)) if not members],
        f"protocol {protocol.name} does not match these stores",
    )
    validates = select == "validation"
    present = {protocol.fold_value(u) for u in validation}
    missing = [v for v in protocol.joint.validation if v not in present] if validates else []
    if missing:
        have = sorted({str(protocol.fold_value(u)) for u in (*train, *validation)}, key=natural_key)
        raise UsageError(
            f"protocol {protocol.name} validates on {protocol.validated_on}, but these stores have no utterance of "
            f"{', '.join(missing)}; they have: {', '.join(have)}"
        )
    return Fold(
        number=1,
        name=protocol.test_corpus,
        validated="+".join(protocol.joint.validation) if validates else None,
        train=train if validates else train + validation,
        validation=validation if validates else (),
        test=test,
    )


def _leaks(protocol: Protocol, folds: Sequence[Fold]) -> list[str]:
    """The leaks of the folds; several corpora are checked one by one, since their names are never equal."""
    corpora = {"": protocol.disjoint} if protocol.joint is None else protocol.joint.disjoint
    leaks = []
    for corpus, keys in corpora.items():
        parts = [f.subset(u for u in f.members if corpus_of(u.id) == corpus) if corpus else f for f in folds]
        members = {u.id: u for fold in parts for u in fold.members}
        leaks += [_unknown(key, list(members.values()), corpus) for key in keys if _has_gaps(key, members.values())]
        leaks += [problem for fold in parts for problem in fold_leaks(fold, keys)]
    return leaks


def _has_gaps(key: str, members: Iterable[Utterance]) -> bool:
    return any(getattr(u, key) is None for u in members)


def _unknown(key: str, members: Sequence[Utterance], corpus: str) -> str:
    """What to do about utterances without a value that the folds must keep apart."""
    missing, where = sum(getattr(u, key) is None for u in members), f" of {corpus}" if corpus else ""
    without = f"{missing} of {len(members)} utterances{where} are without {key}, so leaks cannot be checked"
    if missing < len(members):
        return f"{without}: complete the corpus's {key}s"
    return f'{without}: leave "{key}" out of "disjoint" under [folds], or give the corpus its {key}s'


def fold_leaks(fold: Fold, disjoint: Sequence[str]) -> list[str]:
    """What the sides of a fold share although they must not, one line each; a missing value is not looked at."""
    leaks = []
    for key in ("id", *disjoint):
        values_of = {side: {getattr(u, key) for u in members} for side, members in fold.sides.items()}
        for one, other in combinations(values_of, 2):
            shared = sorted(str(v) for v in (values_of[one] & values_of[other]) - {None})
            if shared:
                word = "utterance" if key == "id" else key
                leaks.append(
                    f"fold {fold.number}: {one} and {other} share {len(shared)} {word}(s): {', '.join(shared[:3])}"
                    f"{', ...' if len(shared) > 3 else ''}"
                )
    return leaks

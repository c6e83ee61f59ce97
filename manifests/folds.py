"""Cross-validation folds: which utterances of a task train, validate and test; in doubt they refuse."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from emofuse.common.errors import UnknownNameError, UsageError, complain
from emofuse.manifests.joint import corpus_of
from emofuse.manifests.protocol import SPLITS, Protocol
from emofuse.manifests.schema import Utterance

Select = Literal["validation", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One split of the task's utterances into sides."""

    number: int
    """From 1."""
    name: str
    """The group (or other corpus) that is tested."""
    validated: str | None
    """What selects the checkpoint; none with `--select last`."""
    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    @property
    def sides(self) -> dict[str, tuple[Utterance, ...]]:
        """The three sides by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def of(self, utterances: Iterable[Utterance]) -> Fold:
        """The same fold of fewer utterances."""
        kept = {u.id for u in utterances}
        sides: dict[str, Any] = {k: tuple(u for u in side if u.id in kept) for k, side in self.sides.items()}
        return replace(self, **sides)


def even_sample(utterances: Sequence[Utterance], protocol: Protocol, limit: int) -> tuple[Utterance, ...]:
    """At most `limit` utterances: as many of each class in each group as there are, evenly spaced, in their order."""
    cells: dict[tuple[str, str | None], list[Utterance]] = {}
    for utterance in utterances:
        cells.setdefault((protocol.group_of(utterance), protocol.class_of(utterance)), []).append(utterance)
    share = dict.fromkeys(cells, 0)
    left = min(limit, len(utterances))
    while left:
        for key in [k for k, members in cells.items() if share[k] < len(members)][:left]:
            share[key] += 1
            left -= 1
    kept = {members[i * len(members) // share[key]].id for key, members in cells.items() for i in range(share[key])}
    return tuple(u for u in utterances if u.id in kept)


def limited(
    utterances: Sequence[Utterance], folds: Sequence[Fold], protocol: Protocol, limit: int
) -> tuple[tuple[Utterance, ...], list[Fold]]:
    """An even sample of at most `limit` utterances, and the folds of them.

    Raises:
        UsageError: A side of a fold would be empty.
    """
    kept = even_sample(utterances, protocol, limit)
    fewer = [fold.of(kept) for fold in folds]
    emptied = [
        f"fold {f.number} has nothing left on its {side} side"
        for f in fewer
        for side, members in f.sides.items()
        if not members and (side != "validation" or f.validated)
    ]
    complain(emptied, "--limit is too low")
    return kept, fewer


def chosen(folds: Sequence[Fold], asked: str) -> list[Fold]:
    """The folds that `--folds` asks for: all, or numbers such as 1,3.

    Raises:
        UnknownNameError: No fold has such a number.
    """
    if asked == "all":
        return list(folds)
    by_number = {str(f.number): f for f in folds}
    numbers = [n.strip() for n in asked.split(",")]
    for number in numbers:
        if number not in by_number:
            raise UnknownNameError("fold", number, by_number, "Several: --folds 1,3.")
    return [f for f in folds if str(f.number) in numbers]


def build(protocol: Protocol, utterances: Sequence[Utterance], select: Select) -> list[Fold]:
    """All folds of a protocol, checked for leaks.

    Validation is the next group in turn, the official dev split, or, where another corpus is tested, what the protocol
    names. With `last` it goes back to training, except for an official dev split: that is left unused.

    Raises:
        UsageError: Too few groups, an official split that is empty, utterances of no fold, or sides that share what the
            protocol keeps apart.
    """
    check_groups(protocol, utterances)
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(protocol.group_of(utterance), []).append(utterance)
    if protocol.test_corpus:
        folds = [_elsewhere(protocol, groups, select)]
    else:
        folds = _official(groups, select) if protocol.fold_by == "split" else _in_turn(protocol, groups, select)
    complain([p for fold in folds for p in _shared(protocol, fold)], f"protocol {protocol.name}: folds leak")
    return folds


def check_groups(protocol: Protocol, utterances: Sequence[Utterance]) -> None:
    """Refuse utterances that no fold would hold, rather than drop them.

    Raises:
        UsageError: The values of what forms the folds that none of them takes, each with its count.
    """
    by, split = protocol.grouping, protocol.fold_by == "split"
    known = SPLITS if split else tuple(value for group in protocol.fold_groups for value in group)
    found = Counter(protocol.fold_value(u) for u in utterances if not protocol.only_tests(u))
    strange = {value: n for value, n in found.items() if value is None or (known and value not in known)}
    if not strange:
        return
    listed = [f"{'(none)' if v is None else v} {n}" for v, n in sorted(strange.items(), key=lambda i: str(i[0]))]
    shown = ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
    annotation = by if protocol.joint else f"corpus's {by}"
    own = (
        "" if split else ", or name these values under [folds] groups of a protocol of your own (--protocol PATH.toml)"
    )
    raise UsageError(
        f"protocol {protocol.name} forms its folds by {by}, and {sum(strange.values())} of {len(utterances)} "
        f"utterances are in none of them: {shown}; valid: {', '.join(known) if known else f'any {by}'}. "
        f"Correct the {annotation} and extract again{own}"
    )


def _official(groups: Mapping[str, list[Utterance]], select: Select) -> list[Fold]:
    needed = [s for s in SPLITS if s != "dev" or select == "validation"]
    empty = [s for s in needed if not groups.get(s)]
    if empty:
        have = ", ".join(f"{name} {len(group)}" for name, group in sorted(groups.items()))
        raise UsageError(
            f"the official split has no {' and no '.join(empty)} utterances that can be used; there are: {have}"
        )
    train, dev, test = (tuple(groups.get(s, ())) for s in SPLITS)
    honest = select == "validation"
    return [
        Fold(
            number=1,
            name="test",
            validated="dev" if honest else None,
            train=train,
            validation=dev if honest else (),
            test=test,
        )
    ]


def _in_turn(protocol: Protocol, groups: Mapping[str, list[Utterance]], select: Select) -> list[Fold]:
    declared = ["+".join(g) for g in protocol.fold_groups]
    names = [n for n in declared if n in groups] if declared else sorted(groups, key=_natural)
    least = 3 if select == "validation" else 2
    if len(names) < least:
        raise UsageError(
            f"protocol {protocol.name} forms folds by {protocol.fold_by}, of which there are {len(names)}; "
            f"{'with' if select == 'validation' else 'without'} validation at least {least} are needed"
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


def _elsewhere(protocol: Protocol, groups: Mapping[str, list[Utterance]], select: Select) -> Fold:
    """The one fold that tests another corpus."""
    assert protocol.joint is not None
    assert protocol.test_corpus is not None
    train, validation, test = (tuple(groups.get(side, ())) for side in ("train", "validation", "test"))
    complain(
        [f"nothing to {side}" for side, members in (("train", train), ("test", test)) if not members],
        f"protocol {protocol.name} does not come out of these stores",
    )
    honest = select == "validation"
    held = {protocol.fold_value(u) for u in validation}
    lacking = [v for v in protocol.joint.validation if v not in held] if honest else []
    if lacking:
        have = sorted({str(protocol.fold_value(u)) for u in (*train, *validation)}, key=_natural)
        raise UsageError(
            f"protocol {protocol.name} validates on {protocol.validated_on}, but these stores have no utterance of "
            f"{', '.join(lacking)}; they have: {', '.join(have)}"
        )
    return Fold(
        number=1,
        name=protocol.test_corpus,
        validated="+".join(protocol.joint.validation) if honest else None,
        train=train if honest else train + validation,
        validation=validation if honest else (),
        test=test,
    )


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _shared(protocol: Protocol, fold: Fold) -> list[str]:
    """What the sides share; of several corpora each is checked alone, since joined names never meet."""
    if protocol.joint is None:
        return leaks(fold, protocol.disjoint)
    members = [u for side in fold.sides.values() for u in side]
    return [
        problem
        for corpus, keys in protocol.joint.disjoint.items()
        for problem in leaks(fold.of(u for u in members if corpus_of(u.id) == corpus), keys)
    ]


def leaks(fold: Fold, disjoint: Sequence[str]) -> list[str]:
    """What the sides of a fold share though the protocol keeps it apart; an utterance that does not say is a leak."""
    found = []
    for key in ("id", *disjoint):
        seen = {side: {getattr(u, key) for u in members} for side, members in fold.sides.items()}
        for side, values in seen.items():
            if None in values:
                found.append(f"fold {fold.number}: {side} has utterances without {key}, so it cannot be checked")
        for one, other in combinations(seen, 2):
            shared = sorted(str(v) for v in (seen[one] & seen[other]) - {None})
            if shared:
                word = "utterance" if key == "id" else key
                found.append(
                    f"fold {fold.number}: {one} and {other} share {len(shared)} {word}(s): {', '.join(shared[:3])}"
                )
    return found

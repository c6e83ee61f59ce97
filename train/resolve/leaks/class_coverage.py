"""The classes that a side of a fold lacks, and what that does to its scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emofuse.manifests.folds import Fold
from emofuse.manifests.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassGaps:
    """The classes that the sides of one fold lack."""

    fold: int
    untrained: tuple[str, ...]
    """Classes of the test side that training lacks: their recall is 0, unless the model guesses them."""
    untested: tuple[str, ...]
    """Classes that the test side lacks: the fold's UA is the mean of the other recalls."""


def class_gaps(protocol: Protocol, folds: Iterable[Fold]) -> tuple[ClassGaps, ...]:
    """The folds whose training or test side lacks classes; empty where every side has every class it needs."""
    found = []
    for fold in folds:
        trained, tested = ({protocol.class_of(u) for u in side} for side in (fold.train, fold.test))
        gaps = ClassGaps(
            fold=fold.number,
            untrained=tuple(c for c in protocol.classes if c in tested - trained),
            untested=tuple(c for c in protocol.classes if c not in tested),
        )
        if gaps.untrained or gaps.untested:
            found.append(gaps)
    return tuple(found)

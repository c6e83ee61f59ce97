"""The classes that are missing on a side of a fold, and what that does to its scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassGaps:
    """The classes that are missing on the sides of one fold."""

    fold: int
    untrained: tuple[str, ...]
    """Classes of the test side that are missing in training: their recall is 0, unless the model guesses them."""
    untested: tuple[str, ...]
    """Classes that are missing on the test side: the fold's UA is the mean of the other recalls."""


SHOWN = 6
"""How many folds a remark lists."""


def class_gaps(protocol: Protocol, folds: Iterable[Fold]) -> tuple[ClassGaps, ...]:
    """The folds whose training or test side has not all classes; empty where every side has every class it needs."""
    found = []
    for fold in folds:
        trained, tested = ({c for u in side for c in protocol.classes_of(u)} for side in (fold.train, fold.test))
        gaps = ClassGaps(
            fold=fold.number,
            untrained=tuple(c for c in protocol.classes if c in tested - trained),
            # What it does to a score is said of the recalls of one class an utterance.
            untested=tuple(c for c in protocol.classes if c not in tested) if protocol.target.has_class else (),
        )
        if gaps.untrained or gaps.untested:
            found.append(gaps)
    return tuple(found)


def gap_remarks(gaps: Sequence[ClassGaps], classes: int) -> list[str]:
    """Which folds have not all classes, and what that does to their scores; at most two remarks."""
    untrained = [f"fold {g.fold} tests {', '.join(g.untrained)}" for g in gaps if g.untrained]
    untested = [
        f"over {classes - len(g.untested)} in fold {g.fold} (no {', '.join(g.untested)})" for g in gaps if g.untested
    ]
    remarks = []
    if untrained:
        remarks.append(f"classes that are tested but not on the training side count as missed: {_listed(untrained)}")
    if untested:
        remarks.append(f"not every test side has all {classes} classes, so UA is {_listed(untested)}")
    return remarks


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (f", ... ({len(items)} folds)" if len(items) > SHOWN else "")

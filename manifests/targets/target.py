"""The target of a protocol: what is predicted for an utterance, and its true value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.targets.dimension import Dimension
from emofuse.manifests.votes import VOTES

Kind = Literal["classes", "distribution", "multilabel", "dimensions", "classes+dimensions"]
KINDS: tuple[Kind, ...] = ("classes", "distribution", "multilabel", "dimensions", "classes+dimensions")
LABEL_SEPARATOR = ","
"""Between the labels of an utterance that has several, as the reader of GoEmotions writes them."""
OTHER_VOTES = ("ignore", "spread")
"""What becomes of votes for labels that are no class: left out, or spread evenly over the classes."""

Truth = NDArray[Any]
"""The true values of n utterances: class numbers [n], int64, of the kind `classes`; otherwise float64 [n, K]:
`distribution` votes for each class [n, C], `multilabel` 0 or 1 for each class [n, C], `dimensions` ratings [n, D],
`classes+dimensions` the class number and the ratings [n, 1 + D]."""
Values = NDArray[np.float64]
"""The predicted values [n, K]: probabilities of the classes [n, C], ratings [n, D], or both side by side [n, C + D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is predicted for an utterance."""

    kind: Kind = "classes"
    classes: tuple[str, ...]
    """Empty for `dimensions`."""
    dimensions: tuple[Dimension, ...] = ()
    """Only of `dimensions` and `classes+dimensions`."""
    votes_field: str = VOTES
    """Where the votes of a `distribution` are: a key of `Utterance.extra`."""
    other_votes: str = "ignore"
    """One of `OTHER_VOTES`."""

    @property
    def has_class(self) -> bool:
        """Whether one class is predicted for each utterance, so that WA, UA and a confusion matrix exist."""
        return self.kind in ("classes", "distribution", "classes+dimensions")

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for an utterance: C + D."""
        return len(self.classes) + len(self.dimensions)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs: the classes, then the dimensions."""
        return (*self.classes, *(d.name for d in self.dimensions))

    @property
    def described(self) -> str:
        """What is predicted, and not where a corpus keeps it: `classes a, b; ratings valence 1 to 5`."""
        scales = ", ".join(f"{d.name} {d.low:g} to {d.high:g}" for d in self.dimensions)
        parts = (("classes", ", ".join(self.classes)), ("ratings", scales))
        return "; ".join(f"{what} {named}" for what, named in parts if named)


def target_record(target: Target) -> dict[str, Any]:
    """The target, JSON-ready; `recorded_target` reads it."""
    record = asdict(target)
    return record | {"classes": list(target.classes), "dimensions": [asdict(d) for d in target.dimensions]}


def recorded_target(record: Mapping[str, Any] | None, classes: Sequence[str]) -> Target:
    """The target of a record; without one, one of `classes`.

    Raises:
        KeyError, TypeError, ValueError: The record is not of a target.
    """
    if record is None:
        return Target(classes=tuple(classes))
    dimensions = tuple(Dimension(**dimension) for dimension in record["dimensions"])
    target = Target(**{**record, "classes": tuple(record["classes"]), "dimensions": dimensions})
    if target.kind not in KINDS or not all(isinstance(c, str) for c in target.classes):
        raise ValueError(f"target {str(target.kind)[:60]!r}")
    return target


def class_numbers(target: Target, truth: Truth) -> NDArray[np.int64]:
    """The class number of each utterance [n]: of votes the first of the most frequent; 0 where there is not one class.

    Args:
        truth: Of the target's kind.
    """
    if target.kind == "classes":
        return truth
    if not target.has_class:
        return np.zeros(len(truth), np.int64)
    found: NDArray[np.int64] = (truth.argmax(1) if target.kind == "distribution" else truth[:, 0]).astype(np.int64)
    return found

"""Builds a `Target` from the TOML tables of a protocol's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.errors import nearest
from emofuse.manifests.targets.dimension import Dimension
from emofuse.manifests.targets.target import KINDS, LABEL_SEPARATOR, OTHER_VOTES, Target
from emofuse.manifests.votes import VOTES

SHAPE: dict[str, Any] = {
    "target": str,
    "dimensions": {str: {"low": float, "high": float, "field": str}},
    "distribution": {"votes": str, "other": str},
}
"""The tables that a protocol of one corpus may have for its target."""

Tables = Mapping[str, Any]


def parse_target(raw: Tables) -> Target:
    """The target that the tables declare, still unchecked; without `target` it is one class."""
    votes = raw.get("distribution", {})
    return Target(
        kind=raw.get("target", "classes"),
        classes=tuple(raw.get("classes", ())),
        dimensions=tuple(
            Dimension(name=name, low=table.get("low", 0.0), high=table.get("high", 0.0), field=table.get("field", name))
            for name, table in raw.get("dimensions", {}).items()
        ),
        votes_field=votes.get("votes", VOTES),
        other_votes=votes.get("other", "ignore"),
    )


def target_problems(target: Target, raw: Tables) -> list[str]:
    """What contradicts the kind of the target, one line each."""
    kind = target.kind
    if kind not in KINDS:
        closest = nearest(kind, KINDS)
        guess = f"did you mean {closest!r}? " if closest else ""
        return [f"target is {kind!r}; {guess}valid: {', '.join(KINDS)}"]
    problems = _dimension_problems(target)
    if "distribution" in raw and kind != "distribution":
        problems.append(f"[distribution] has no effect with target {kind!r}")
    if target.other_votes not in OTHER_VOTES:
        problems.append(f"distribution.other is {target.other_votes!r}; valid: {', '.join(OTHER_VOTES)}")
    if kind == "dimensions":
        problems += ["classes has no effect with target 'dimensions'; leave it out"] if raw.get("classes") else []
    elif not target.classes:
        problems.append("classes is empty")
    if kind == "multilabel":
        problems += [f"class {c!r}: {LABEL_SEPARATOR!r} separates labels" for c in target.classes if "," in c]
    return problems


def _dimension_problems(target: Target) -> list[str]:
    kind, problems = target.kind, []
    if "dimensions" in kind and not target.dimensions:
        problems.append(f"target {kind!r} needs [dimensions], such as valence = {{ low = 1, high = 5 }}")
    if "dimensions" not in kind and target.dimensions:
        problems.append(
            f"[dimensions] has no effect with target {kind!r}; valid with it: dimensions, classes+dimensions"
        )
    for d in target.dimensions:
        if not d.low < d.high:
            problems.append(f"dimensions.{d.name}: low is {d.low:g} and high {d.high:g}; low must be below high")
        if not d.name.replace("-", "").isalnum():
            problems.append(f"dimensions.{d.name}: expected a name of letters, digits and '-'")
    return problems

"""A feature in parts, one for each fold: `extract` made each with weights that have not seen what its fold tests.

The store holds the parts as features of their own, `NAME@1`, `NAME@2`, ...; `fit` takes them as one, `NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.lazy import lazy
from emofuse.manifests.folds import Fold
from emofuse.store import Feature, FeatureStore


class PerFoldFeature:
    """The parts of one feature; what says how it was made is the first part's."""

    def __init__(self, name: str, parts: Sequence[Feature]) -> None:
        self.name = name
        self.parts = tuple(parts)
        first = parts[0]
        self.spec, self.modality, self.encoder = first.spec, first.modality, first.encoder
        self.dimension, self.layers, self.frame_rate = first.dimension, first.layers, first.frame_rate
        self.fingerprint = {part.name: dict(part.fingerprint) for part in parts}
        self.provenance = {part.name: dict(part.provenance) for part in parts}
        self.complete = all(part.complete for part in parts)

    @lazy
    def position(self) -> dict[str, int]:
        """The utterances that every part has, each with its place among them."""
        common = set.intersection(*(set(part.position) for part in self.parts))
        return {id: i for i, id in enumerate(id for id in self.parts[0].ids if id in common)}

    @property
    def stale(self) -> list[str]:
        """Utterances whose audio or text is no longer the one that some part's values came from."""
        return list(dict.fromkeys(id for part in self.parts for id in part.stale))

    def serving(self, folds: Sequence[Fold], grouping: str) -> PerFoldFeature:
        """The parts that belong to some folds, in their order.

        Args:
            grouping: What the folds leave out in turn.

        Raises:
            UsageError: A fold has no part.
        """
        of_fold = {_fold_of(part): part for part in self.parts}
        lacking = [f for f in folds if (grouping, f.name) not in of_fold]
        if lacking:
            told = ", ".join(f"{f.number} ({f.name})" for f in lacking)
            have = ", ".join(f"{name} by {by}" for by, name in filter(None, of_fold))
            raise UsageError(
                f"feature {self.name!r} has no part for fold {told} by {grouping}; its parts are for {have}: "
                "leave those folds out (--folds), or fine-tune for them, too"
            )
        serving = [of_fold[grouping, f.name] for f in folds]
        runs = {part.name: str(_said(part).get("run")) for part in serving}
        if len(set(runs.values())) > 1:
            raise UsageError(
                f"the parts of feature {self.name!r} were fine-tuned with different settings, and their scores make no "
                f"mean: {', '.join(f'{name} by run {run}' for name, run in runs.items())}; fit their folds apart "
                "(--folds), or fine-tune all with one command"
            )
        return PerFoldFeature(self.name, serving)

    def part(self, fold: Fold) -> Feature:
        """The part that belongs to one of the folds that it is `serving`."""
        return next(part for part in self.parts if (_fold_of(part) or (None, None))[1] == fold.name)


def per_fold_features(store: FeatureStore) -> dict[str, PerFoldFeature]:
    """The features of a store that are there in parts, by the name that the parts share."""
    found: dict[str, list[Feature]] = {}
    for feature in store.features.values():
        whole = whole_name(feature)
        if whole and whole not in store.features:
            found.setdefault(whole, []).append(feature)
    return {
        name: PerFoldFeature(name, sorted(parts, key=_number))
        for name, parts in found.items()
        if len({(f.encoder, f.modality, f.dimension, f.layers) for f in parts}) == 1
    }


def whole_name(feature: Feature) -> str | None:
    """What a part's feature is called; none: it is no part."""
    whole, mark, _ = feature.name.rpartition("@")
    return whole if mark and whole and _fold_of(feature) is not None else None


def _said(feature: Feature) -> Mapping[str, Any]:
    said = feature.provenance.get("fold")
    return said if isinstance(said, Mapping) else {}


def _fold_of(feature: Feature) -> tuple[str, str] | None:
    """What its fold leaves out in turn, and which of them it tests."""
    by, name = (_said(feature).get(key) for key in ("by", "name"))
    return (by, name) if isinstance(by, str) and isinstance(name, str) else None


def _number(feature: Feature) -> tuple[int, str]:
    digits = feature.name.rpartition("@")[2]
    return (int(digits) if digits.isdecimal() else 0, feature.name)

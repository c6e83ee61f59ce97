"""Per-fold features: one feature that `extract` wrote once per fold, each time with weights fine-tuned for that fold.

The weights for a fold have not seen the utterances that the fold tests. The store holds the features of the folds as
`NAME@1`, `NAME@2`, ...; `fit` uses them together as one feature, `NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.lazy import lazy_property
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import copied_name, plain_features


class PerFoldFeature:
    """The stored features `NAME@1`, `NAME@2`, ... as one feature `NAME`.

    `spec`, `modality`, `encoder`, `dimension`, `layers` and `frame_rate` are those of the first one.
    """

    def __init__(self, name: str, fold_features: Sequence[Feature]) -> None:
        self.name = name
        self.fold_features = tuple(fold_features)
        first = fold_features[0]
        self.spec, self.modality, self.encoder = first.spec, first.modality, first.encoder
        self.dimension, self.layers, self.frame_rate = first.dimension, first.layers, first.frame_rate
        self.fingerprint = {feature.name: dict(feature.fingerprint) for feature in fold_features}
        self.provenance = {feature.name: dict(feature.provenance) for feature in fold_features}
        self.complete = all(feature.complete for feature in fold_features)

    @lazy_property
    def position(self) -> dict[str, int]:
        """Utterance id -> its index among the utterances that the features of all folds have."""
        common = set.intersection(*(set(feature.position) for feature in self.fold_features))
        return {id: i for i, id in enumerate(id for id in self.fold_features[0].ids if id in common)}

    @property
    def stale(self) -> list[str]:
        """Utterances whose audio or text has changed since the values of any fold were extracted."""
        return list(dict.fromkeys(id for feature in self.fold_features for id in feature.stale))

    def encoder_seconds(self, ids: Sequence[str]) -> float | None:
        """How long the encoders of all folds took for some utterances; None unless that is recorded of each."""
        found = [feature.encoder_seconds(ids) for feature in self.fold_features]
        return None if None in found else sum(filter(None, found))

    def for_folds(self, folds: Sequence[Fold], grouping: str) -> PerFoldFeature:
        """Only the features of `folds`, in the order of `folds`.

        Args:
            grouping: What the folds leave out in turn (`session`, `speaker`, ...).

        Raises:
            UsageError: A fold has no feature, or the features come from different fine-tuning runs.
        """
        by_fold = {_fold_key(feature): feature for feature in self.fold_features}
        missing = [f for f in folds if (grouping, f.name) not in by_fold]
        if missing:
            missing_folds = ", ".join(f"{f.number} ({f.name})" for f in missing)
            existing_folds = ", ".join(f"{name} by {by}" for by, name in filter(None, by_fold))
            raise UsageError(
                f"feature {self.name!r} has no per-fold feature for fold {missing_folds} by {grouping}; "
                f"it has those for {existing_folds}: leave those folds out (--folds), or fine-tune for them too"
            )
        selected = [by_fold[grouping, f.name] for f in folds]
        runs = {feature.name: str(_fold_record(feature).get("run")) for feature in selected}
        if len(set(runs.values())) > 1:
            raise UsageError(
                f"the per-fold features of {self.name!r} were fine-tuned with different settings, so their scores "
                f"cannot be averaged: {', '.join(f'{name} by run {run}' for name, run in runs.items())}; fit their "
                "folds separately (--folds), or fine-tune all folds with one command"
            )
        return PerFoldFeature(self.name, selected)

    def for_fold(self, fold: Fold) -> Feature:
        """The feature of one of the folds that `for_folds` has selected."""
        return next(feature for feature in self.fold_features if (_fold_key(feature) or (None, None))[1] == fold.name)


def per_fold_features(store: FeatureStore) -> dict[str, PerFoldFeature]:
    """The per-fold features of a store, by their common name.

    A name is excluded where the store also has a plain feature of that name, or where the features of its folds differ
    in encoder, modality, dimension or layers.
    """
    by_name: dict[str, list[Feature]] = {}
    for feature in plain_features(store.features).values():
        name = per_fold_name(feature)
        if name and name not in store.features:
            by_name.setdefault(name, []).append(feature)
    return {
        name: PerFoldFeature(name, sorted(fold_features, key=_fold_number))
        for name, fold_features in by_name.items()
        if len({(f.encoder, f.modality, f.dimension, f.layers) for f in fold_features}) == 1
    }


def per_fold_name(feature: Feature) -> str | None:
    """`NAME` of a stored feature `NAME@1` that was extracted for one fold; None for any other feature."""
    name, separator, _ = copied_name(feature).rpartition("@")
    return name if separator and name and _fold_key(feature) is not None else None


def _fold_record(feature: Feature) -> Mapping[str, Any]:
    record = feature.provenance.get("fold")
    return record if isinstance(record, Mapping) else {}


def _fold_key(feature: Feature) -> tuple[str, str] | None:
    """(grouping, name of the fold), such as ("session", "2"); None for a feature that belongs to no fold."""
    by, name = (_fold_record(feature).get(key) for key in ("by", "name"))
    return (by, name) if isinstance(by, str) and isinstance(name, str) else None


def _fold_number(feature: Feature) -> tuple[int, str]:
    digits = feature.name.rpartition("@")[2]
    return (int(digits) if digits.isdecimal() else 0, feature.name)

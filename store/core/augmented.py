"""Augmented copies: features of changed clips of the corpus, such as `hubert@copy1`, which only training may use.

A copy is a feature, not an utterance: what goes over the manifest (folds, validation, test, predictions) never meets
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.store.core.feature import Feature
from emofuse.store.core.spec import COPY_MARK

_SUFFIX = "@copy"


def copy_name(feature: str, number: int) -> str:
    """The name of copy `number`, counted from 1, of a feature: `hubert@copy1`."""
    return f"{feature}{_SUFFIX}{number}"


def copied_name(feature: Feature) -> str:
    """The name of the feature that a copy is of; the feature's own name where it is no copy."""
    return feature.name.rpartition(_SUFFIX)[0] or feature.name if feature.is_copy else feature.name


def count_copies(number: int) -> str:
    """`1 augmented copy`, `2 augmented copies`."""
    return f"{number} augmented {'copy' if number == 1 else 'copies'}"


def plain_features(features: Mapping[str, Feature]) -> dict[str, Feature]:
    """The features without augmented copies."""
    return {name: feature for name, feature in features.items() if not feature.is_copy}


def copies_of(features: Mapping[str, Feature], name: str) -> list[Feature]:
    """The copies 1, 2, ... of a feature, up to the first number that is missing."""
    found: list[Feature] = []
    while (copy := features.get(copy_name(name, len(found) + 1))) is not None and copy.is_copy:
        found.append(copy)
    return found


def settings_without_copy(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint without what makes a copy: that of the feature that it is a copy of."""
    return {key: value for key, value in fingerprint.items() if key != COPY_MARK}


def describe_copy(feature: Feature) -> str:
    """`copy 1 of hubert, augmented by noise and speed (seed 0), for training only`; empty for a plain feature."""
    if not feature.is_copy:
        return ""
    made = feature.fingerprint[COPY_MARK]
    transforms = made.get("transforms") if isinstance(made, Mapping) else None
    by = f", augmented by {' and '.join(transforms)} (seed {made.get('seed')})" if isinstance(transforms, dict) else ""
    number = feature.name.rpartition(_SUFFIX)[2]
    return f"copy {number} of {copied_name(feature)}{by}, for training only"


def copy_refusal(feature: Feature) -> str:
    """Why a copy cannot be used where a feature of the corpus's own clips is expected."""
    return (
        f"feature {feature.name!r} is an augmented copy, for training only: name {copied_name(feature)!r}, "
        "and use its copies with `fit --augmented`"
    )

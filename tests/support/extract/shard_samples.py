"""Compares two stores, for the tests of work that several processes share."""

from __future__ import annotations

import numpy as np
from extract_samples import OWN, corpus, put_wav  # noqa: F401

from emofuse.store import FeatureStore


def assert_same_store(first: str, second: str) -> None:
    with FeatureStore(first) as a, FeatureStore(second) as b:
        assert a.manifest == b.manifest
        assert sorted(a.features) == sorted(b.features)
        for name, feature in a.features.items():
            other = b.features[name]
            assert feature.ids == other.ids
            assert feature.marks().tolist() == other.marks().tolist()
            assert feature.fingerprint == other.fingerprint
            assert np.array_equal(feature.read(feature.ids).values, other.read(other.ids).values)

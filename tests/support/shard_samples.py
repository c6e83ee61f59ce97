"""Whether two stores hold the same, for the tests of work dealt to several processes."""

from __future__ import annotations

import numpy as np
from extract_samples import OWN, corpus, put_wav  # noqa: F401

from emofuse.store import FeatureStore


def same(one: str, two: str) -> None:
    with FeatureStore(one) as a, FeatureStore(two) as b:
        assert a.manifest == b.manifest
        assert sorted(a.features) == sorted(b.features)
        for name, feature in a.features.items():
            other = b.features[name]
            assert feature.ids == other.ids
            assert feature.marks().tolist() == other.marks().tolist()
            assert feature.fingerprint == other.fingerprint
            assert np.array_equal(feature.read(feature.ids).values, other.read(other.ids).values)

"""The feature that the tests of interrupted writers write."""

from __future__ import annotations

import numpy as np

from emofuse.store import FeatureSpec

SPEC = FeatureSpec(
    name="hubert", modality="audio", encoder="hubert", dimension=6, fingerprint={"weights": "1", "layer": 12}
)


def lengths(values: dict[str, np.ndarray]) -> dict[str, int]:
    return {id: len(a) for id, a in values.items()}

"""How often intervals contain the true score where speakers differ: by speaker nearly as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emofuse.manifests.metrics.resampling import ResamplingUnits, named_units
from emofuse.manifests.metrics.scores import intervals

CLIPS, TRUE = 20, 0.6


def speaker_units(speaker: NDArray[np.int64]) -> ResamplingUnits:
    return named_units(speaker.tolist(), "speaker")


def utterance_units(speaker: NDArray[np.int64]) -> ResamplingUnits:
    return named_units(range(len(speaker)), "utterance")


@pytest.mark.parametrize(
    ("units_of", "speakers", "trials", "least", "most"),
    [(speaker_units, 24, 120, 0.90, 0.99), (speaker_units, 10, 120, 0.82, 0.98), (utterance_units, 10, 40, 0.3, 0.78)],
)
def test_the_true_accuracy_is_inside(units_of: object, speakers: int, trials: int, least: float, most: float) -> None:
    assert callable(units_of)
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(speakers), CLIPS)
    labels = np.zeros(len(speaker), np.int64)
    units, inside = units_of(speaker), 0
    for _ in range(trials):
        accuracy = np.clip(rng.normal(TRUE, 0.15, speakers), 0, 1)[speaker]
        predicted = (rng.random(len(speaker)) > accuracy).astype(np.int64)
        low, high = intervals(labels, predicted, 2, units)["wa"]
        inside += low <= TRUE <= high
    assert least <= inside / trials <= most

"""How loud an utterance is over time: from its recording, or from a log-Mel feature of the store."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from emofuse.extract.audio.resampling import Waveform
from emofuse.store import Feature, FeatureStore

RATE = 20.0
"""Values per second of an energy curve from a recording."""
QUIETEST = -80.0
"""Decibels below which there is silence."""
_DECIBELS_PER_NEPER = 10 / math.log(10)


def energy_of_waveform(waveform: Waveform, sample_rate: int) -> NDArray[np.float32]:
    """The energy [T] of windows of 1/20 s, in decibels below full scale, of samples [N] in -1..1."""
    size = round(sample_rate / RATE)
    padded = np.pad(waveform, (0, -len(waveform) % size)).reshape(-1, size).astype(np.float64)
    power = np.square(padded).mean(1)
    decibels: NDArray[np.float32] = (10 * np.log10(np.maximum(power, 10 ** (QUIETEST / 10)))).astype(np.float32)
    return decibels


def log_mel_feature(store: FeatureStore) -> Feature | None:
    """A complete feature of a store with log-Mel energies over time; None if it has none."""
    for feature in store.features.values():
        bands = feature.fingerprint.get("bands")
        over_time = feature.view == "frames" and feature.frame_rate and not feature.layers
        if feature.encoder.startswith("logmel") and over_time and feature.complete and isinstance(bands, int):
            return feature
    return None


def energy_of_log_mel(frames: NDArray[np.floating], bands: int) -> NDArray[np.float32]:
    """The energy [T] of log-Mel frames [T, D], in decibels: the sum over the bands; deltas, which follow, are ignored.

    Its zero depends on the scale of the samples, so only differences have a meaning.
    """
    power = np.logaddexp.reduce(frames[:, :bands].astype(np.float64), axis=1)
    decibels: NDArray[np.float32] = (power * _DECIBELS_PER_NEPER).astype(np.float32)
    return decibels

"""How loud an utterance is over time: from its recording, or from a log-Mel feature of its store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import EmofuseError
from emofuse.extract.audio.clips import load
from emofuse.extract.audio.resampling import Waveform
from emofuse.store import Feature, FeatureStore
from emofuse.train.runs.recordings import Recordings
from emofuse.train.runs.run_stores import RunStores

RATE = 20
"""Values per second of an energy curve from a recording."""
SAMPLE_RATE = 16_000
"""Hz, at which recordings are read."""
QUIETEST = -80.0
"""Decibels below which there is silence."""
_DECIBELS_PER_NEPER = 10 / math.log(10)
Energy = Callable[[str], NDArray[np.float32] | None]
"""The run's id of an utterance -> decibels at equal distances [T] over all of it; None where they are not known."""


@contextmanager
def open_energy(stores: RunStores, recordings: Recordings) -> Iterator[Energy]:
    """The energy of utterances: of their recordings, else of the stores, which are open within the context."""
    with ExitStack() as stack:
        opened = {corpus: stack.enter_context(FeatureStore(path)) for corpus, path in stores.paths.items()}
        features = {corpus: f for corpus, store in opened.items() if (f := log_mel_feature(store)) is not None}

        def energy(id: str) -> NDArray[np.float32] | None:
            try:
                found = recordings.file(id)
                if found is not None:
                    path, utterance = found
                    return energy_of_waveform(load(path, SAMPLE_RATE, utterance.start, utterance.end), SAMPLE_RATE)
                return _stored_energy(id, stores, features)
            except EmofuseError:  # a recording that cannot be decoded, or no decoder; a damaged feature
                return None

        yield energy


def energy_of_waveform(waveform: Waveform, sample_rate: int) -> NDArray[np.float32]:
    """The energy [T] of windows of 1/20 s, in decibels below full scale, of samples [N] in -1..1."""
    size = sample_rate // RATE
    windows = np.pad(waveform, (0, -len(waveform) % size)).reshape(-1, size).astype(np.float64)
    power = np.square(windows).mean(1)
    decibels: NDArray[np.float32] = (10 * np.log10(np.maximum(power, 10 ** (QUIETEST / 10)))).astype(np.float32)
    return decibels


def log_mel_feature(store: FeatureStore) -> Feature | None:
    """A complete feature of a store with log-Mel energies over time; None if it has none."""
    for feature in store.features.values():
        over_time = feature.view == "frames" and not feature.layers
        known = feature.encoder.startswith("logmel") and isinstance(feature.fingerprint.get("bands"), int)
        if known and over_time and feature.complete:
            return feature
    return None


def energy_of_log_mel(frames: NDArray[np.floating], bands: int) -> NDArray[np.float32]:
    """The energy [T] of log-Mel frames [T, D], in decibels: the sum over the bands; deltas, which follow, are ignored.

    Its zero depends on the scale of the samples, so only differences have a meaning.
    """
    power = np.logaddexp.reduce(frames[:, :bands].astype(np.float64), axis=1)
    decibels: NDArray[np.float32] = (power * _DECIBELS_PER_NEPER).astype(np.float32)
    return decibels


def _stored_energy(id: str, stores: RunStores, features: Mapping[str, Feature]) -> NDArray[np.float32] | None:
    member = stores.utterances.get(id)
    feature = None if member is None else features.get(member.corpus)
    if member is None or feature is None or member.utterance.id not in feature or member.utterance.id in feature.stale:
        return None
    return energy_of_log_mel(feature[member.utterance.id], feature.fingerprint["bands"])

"""Applies the transforms of an augmented copy to a waveform.

- speed: played faster or slower, tempo and pitch together, by the resampling filter of every feature (Ko et al., Audio
  Augmentation for Speech Recognition, Interspeech 2015).
- reverb: convolved with a direct path and a tail of white Gaussian noise that decays by 60 dB in the drawn time (the
  statistical model of late reverberation, Polack 1988), 0 to 12 dB below the direct path. Level and length stay.
- noise: audiomentations' `AddColorNoise`, Gaussian noise whose spectrum falls or rises by up to 6 dB per octave.
- gain: audiomentations' `Gain`.

A result that exceeds -1..1 is scaled down to it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from emofuse.extract.audio.augmentation import SPEED_STEPS, Augmentation
from emofuse.extract.audio.resampling import Waveform, resample

DIRECT_TO_REVERBERANT_DB = (0.0, 12.0)
NOISE_SLOPE_DB = (-6.0, 6.0)
"""Per octave: from brown noise to violet."""
_GLOBAL_STATE = threading.Lock()


def augmented(waveform: Waveform, sample_rate: int, id: str, augmentation: Augmentation) -> Waveform:
    """The copy of an utterance's `waveform` [N] at `sample_rate` Hz, float32 in -1..1, [`augmentation.length(id, N)`].

    Equal arguments give equal bits, in any thread.
    """
    for name, strength in augmentation.strengths(id).items():
        waveform = _APPLY[name](waveform, sample_rate, id, augmentation, strength)
    peak = float(np.abs(waveform).max())
    return waveform if peak <= 1 else waveform / np.float32(peak)


def _speed(waveform: Waveform, sample_rate: int, id: str, augmentation: Augmentation, strength: float) -> Waveform:
    speed = augmentation.speed(id)
    return waveform if speed == SPEED_STEPS else resample(waveform, speed, SPEED_STEPS)


def _reverb(waveform: Waveform, sample_rate: int, id: str, augmentation: Augmentation, strength: float) -> Waveform:
    from scipy.signal import fftconvolve

    low, high = DIRECT_TO_REVERBERANT_DB
    ratio = low + (high - low) * augmentation.uniform(id, "direct to reverberant")
    noise = np.random.RandomState(augmentation.random_state(id, "reverb"))
    time = np.arange(1, max(2, round(strength * sample_rate))) / sample_rate
    tail = noise.standard_normal(len(time)) * 10 ** (-3 * time / strength)
    tail *= 10 ** (-ratio / 20) / np.sqrt(np.square(tail).sum())
    wet = fftconvolve(waveform.astype(np.float64), np.concatenate([[1.0], tail]))[: len(waveform)]
    level, before = np.sqrt(np.square(wet).mean()), np.sqrt(np.square(waveform, dtype=np.float64).mean())
    return np.asarray(wet * (before / level) if level else wet, np.float32)


def _noise(waveform: Waveform, sample_rate: int, id: str, augmentation: Augmentation, strength: float) -> Waveform:
    from audiomentations import AddColorNoise

    low, high = NOISE_SLOPE_DB
    slope = low + (high - low) * augmentation.uniform(id, "noise slope")
    transform = AddColorNoise(
        min_snr_db=strength, max_snr_db=strength, min_f_decay=slope, max_f_decay=slope, p_apply_a_weighting=0.0, p=1.0
    )
    with _seeded(augmentation.random_state(id, "noise")):
        return np.asarray(transform(waveform, sample_rate), np.float32)


def _gain(waveform: Waveform, sample_rate: int, id: str, augmentation: Augmentation, strength: float) -> Waveform:
    from audiomentations import Gain

    with _seeded(augmentation.random_state(id, "gain")):
        return np.asarray(Gain(min_gain_db=strength, max_gain_db=strength, p=1.0)(waveform, sample_rate), np.float32)


_APPLY: dict[str, Callable[[Waveform, int, str, Augmentation, float], Waveform]] = {
    "speed": _speed,
    "reverb": _reverb,
    "noise": _noise,
    "gain": _gain,
}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, from which audiomentations draws, for one thread at a time; restore them after it."""
    with _GLOBAL_STATE:
        states = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])

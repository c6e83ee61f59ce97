"""Prosody as five curves, every 10 ms: pitch, voicing, periodicity, energy, speaking rate. Nothing is learned.

- pitch: F0 in semitones above 27.5 Hz, by Praat's autocorrelation (75 to 600 Hz). Between voiced frames it is
  interpolated, before the first and after the last one it is held, so that means over time are those of the voice; 0 if
  no frame is voiced.
- voicing: 1 where Praat finds a pitch, else 0.
- periodicity: height of the autocorrelation's peak, 0 to 1 (a voice without noise); 0 where there is no pitch.
- energy: root mean square of 25 ms in dB below full scale, at least -100.
- speaking rate: syllable nuclei per second within half a second to either side. A nucleus is a voiced peak of the
  energy that is at most 25 dB below the loud moments (99th percentile) and at least 2 dB above the dips beside it.

Frame t is centred on (t + 1/2) 10 ms. Nothing before or after the clip is seen but zeros.

Papers: Boersma 1993 (pitch), https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf; de Jong and Wempe 2009
(syllable nuclei), https://doi.org/10.3758/BRM.41.2.385
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import (
    ENCODERS,
    Array,
    EncoderDefaults,
    EncoderOptions,
    EncoderSpec,
    Modality,
    refuse_pretrained_options,
)

Curve = NDArray[np.float64]
SAMPLE_RATE, SHIFT, WINDOW = 16000, 160, 400
"""Hz; samples from one frame to the next (10 ms); samples whose energy a frame has (25 ms)."""
CURVES = ("pitch", "voicing", "periodicity", "energy", "rate")
"""What the five values of a frame are."""
LOWEST_HZ, HIGHEST_HZ, REFERENCE_HZ = 75.0, 600.0, 27.5
FLOOR_DB = -100.0
_SHORTEST = 1600
"""Samples: a shorter clip is zero-padded to this for Praat, whose window is 40 ms."""
_LOUD_PERCENTILE, _BELOW_LOUD_DB, _DIP_DB = 99, 25.0, 2.0
_RATE_FRAMES = 50
"""Frames to either side in which nuclei are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prosody(EncoderDefaults):
    """The five curves."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """5."""
        return len(CURVES)

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis."""
        return ()

    @property
    def frame_rate(self) -> float:
        """100 frames per second."""
        return SAMPLE_RATE / SHIFT

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """Every setting of the curves, and the version of Praat."""
        return {
            "encoder": "prosody",
            "version": 1,
            "curves": list(CURVES),
            "praat": _praat(),
            "pitch": {"lowest_hz": LOWEST_HZ, "highest_hz": HIGHEST_HZ, "semitones_above_hz": REFERENCE_HZ},
            "energy": {"window": WINDOW, "shift": SHIFT, "floor_db": FLOOR_DB},
            "nuclei": {"below_loud_db": _BELOW_LOUD_DB, "dip_db": _DIP_DB, "frames": 2 * _RATE_FRAMES + 1},
            "precision": "fp64",
        }

    def provenance(self) -> dict[str, Any]:
        """The version of the package; nothing is learned."""
        libraries = {"praat-parselmouth": version("praat-parselmouth")}
        return {"libraries": libraries, "pretrained_on": None, "fitted_on": []}

    def length(self, item: int | str) -> int:
        """Number of frames of a waveform of `item` samples at 16 kHz: one for each 10 ms begun, at least 1."""
        return max(1, -(-cast(int, item) // SHIFT))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, 5] per waveform [samples at 16 kHz, -1..1]."""
        return [self._curves(cast(Array, item)) for item in items]

    def _curves(self, waveform: Array) -> Array:
        frames = self.length(len(waveform))
        frequency, periodicity = _track_pitch(waveform, frames)
        voiced = frequency > 0
        energy = _energy(waveform, frames)
        rate = _rate(_nuclei(energy, voiced), frames)
        columns = (_contour(frequency, voiced), voiced, np.where(voiced, periodicity, 0), energy, rate)
        return np.stack(columns, axis=1).astype(np.float32)


def _praat() -> str:
    import parselmouth

    return str(parselmouth.PRAAT_VERSION)


def _track_pitch(waveform: Array, frames: int) -> tuple[Curve, Curve]:
    """F0 in Hz, 0 where unvoiced, and the height of the autocorrelation's peak: of each frame, from Praat's nearest."""
    import parselmouth

    filled = np.pad(waveform.astype(np.float64), (0, max(0, _SHORTEST - len(waveform))))
    sound = parselmouth.Sound(filled, sampling_frequency=SAMPLE_RATE)
    pitch = sound.to_pitch_ac(time_step=SHIFT / SAMPLE_RATE, pitch_floor=LOWEST_HZ, pitch_ceiling=HIGHEST_HZ)
    centres = (np.arange(frames) + 0.5) * SHIFT / SAMPLE_RATE
    nearest = np.clip(np.rint((centres - pitch.x1) / pitch.dx).astype(int), 0, pitch.nx - 1)
    found = pitch.selected_array
    return found["frequency"][nearest], np.clip(found["strength"][nearest], 0, 1)


def _contour(frequency: Curve, voiced: NDArray[np.bool_]) -> Curve:
    """Semitones [T], interpolated between voiced frames."""
    if not voiced.any():
        return np.zeros(len(frequency))
    semitones = 12 * np.log2(frequency[voiced] / REFERENCE_HZ)
    return np.asarray(np.interp(np.arange(len(frequency)), np.flatnonzero(voiced), semitones))


def _energy(waveform: Array, frames: int) -> Curve:
    """Root mean square [T] in dB of the 25 ms around the centre of each frame."""
    before = (WINDOW - SHIFT) // 2
    filled = np.zeros((frames - 1) * SHIFT + WINDOW)
    filled[before : before + len(waveform)] = waveform
    windows = np.lib.stride_tricks.sliding_window_view(filled, WINDOW)[::SHIFT]
    power = np.einsum("ts,ts->t", windows, windows) / WINDOW
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10))))


def _nuclei(energy: Curve, voiced: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The frames that are syllable nuclei."""
    from scipy.signal import find_peaks

    loud = np.percentile(energy, _LOUD_PERCENTILE)
    # Quiet frames on both sides, so that a syllable at the edge of a clip has a dip beside it too.
    bounded = np.concatenate([[FLOOR_DB], energy, [FLOOR_DB]])
    peaks, _ = find_peaks(bounded, height=max(loud - _BELOW_LOUD_DB, FLOOR_DB + _DIP_DB), prominence=_DIP_DB)
    return np.asarray((peaks - 1)[voiced[peaks - 1]])


def _rate(nuclei: NDArray[np.intp], frames: int) -> Curve:
    """Nuclei per second [T] in the frames around each, as far as they are inside the clip."""
    counts = np.concatenate([[0], np.cumsum(np.bincount(nuclei, minlength=frames))])
    first = np.maximum(np.arange(frames) - _RATE_FRAMES, 0)
    last = np.minimum(np.arange(frames) + _RATE_FRAMES + 1, frames)
    return np.asarray((counts[last] - counts[first]) / ((last - first) * SHIFT / SAMPLE_RATE))


def _build(options: EncoderOptions) -> Prosody:
    refuse_pretrained_options("prosody", options)
    if importlib.util.find_spec("parselmouth") is None:
        raise UsageError("encoder prosody needs the package praat-parselmouth: pip install 'emofuse[prosody]'")
    return Prosody()


ENCODERS.add(
    "prosody",
    "pitch, voicing, periodicity, energy and speaking rate every 10 ms",
    EncoderSpec(modality="audio", feature="prosody", pretrained=False, stored_as="fp32", build=_build),
)

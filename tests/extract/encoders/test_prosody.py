"""Prosody on signals of known pitch, energy and syllable rate."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.prosody import CURVES, FLOOR_DB, REFERENCE_HZ
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

pytest.importorskip("parselmouth")
RATE = 16000


def vowel(pitch: float | np.ndarray, seconds: float = 1.0, loud: float = 0.1) -> np.ndarray:
    """Pulses of the glottis, 12 dB per octave, through three formants of an open vowel."""
    samples = int(seconds * RATE)
    phase = np.cumsum(np.broadcast_to(pitch, samples)) / RATE
    wave = np.zeros(samples)
    for n in range(1, 1 + int(7000 / np.max(pitch))):
        frequency = n * np.mean(pitch)
        gain = sum(1 / (1 + ((frequency - formant) / 90) ** 2) for formant in (700, 1200, 2600)) / n + 0.02 / n
        wave += gain * np.sin(2 * np.pi * n * phase)
    return (loud * wave / np.sqrt((wave**2).mean())).astype(np.float32)


@pytest.fixture(scope="module")
def encoder() -> Any:
    return ENCODERS["prosody"].build(EncoderOptions())


def curves(encoder: Any, waveform: np.ndarray) -> dict[str, np.ndarray]:
    frames = encoder.encode([waveform])[0]
    assert frames.shape == (encoder.length(len(waveform)), 5)
    assert np.isfinite(frames).all()
    return dict(zip(CURVES, frames.T, strict=True))


@pytest.mark.parametrize("pitch", [90, 120, 180, 240, 330, 450, 560])
def test_a_vowel_has_its_pitch_and_no_octave_error(pitch: float, encoder: Any) -> None:
    found = curves(encoder, vowel(pitch))
    hertz = REFERENCE_HZ * 2 ** (found["pitch"] / 12)
    assert found["voicing"][5:-5].all()
    assert np.abs(hertz[5:-5] / pitch - 1).max() < 0.01
    assert found["periodicity"][5:-5].min() > 0.9
    np.testing.assert_allclose(found["energy"][5:-5], -20, atol=1.5)


def test_a_glide_is_followed(encoder: Any) -> None:
    pitch = np.geomspace(120, 240, RATE)
    found = curves(encoder, vowel(pitch))["pitch"]
    wanted = 12 * np.log2(pitch[80::160] / REFERENCE_HZ)
    assert np.abs(found - wanted)[5:-5].max() < 0.3


def test_noise_and_silence_have_no_pitch(encoder: Any) -> None:
    noise = curves(encoder, np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32))
    assert noise["voicing"].mean() < 0.1
    np.testing.assert_allclose(noise["energy"][2:-2], -20, atol=1.5)
    silence = curves(encoder, np.zeros(RATE, np.float32))
    assert silence["energy"].tolist() == [FLOOR_DB] * 100
    assert not any(silence[name].any() for name in ("pitch", "voicing", "periodicity", "rate"))


def test_pitch_is_interpolated_where_there_is_no_voice(encoder: Any) -> None:
    pause = np.zeros(RATE // 2, np.float32)
    found = curves(encoder, np.concatenate([pause, vowel(120, 0.5), pause, vowel(240, 0.5), pause]))
    assert found["voicing"][:40].sum() == found["voicing"][110:140].sum() == 0
    first, second = (12 * np.log2(hertz / REFERENCE_HZ) for hertz in (120, 240))
    np.testing.assert_allclose(found["pitch"][:40], first, atol=0.5)
    np.testing.assert_allclose(found["pitch"][-40:], second, atol=0.5)
    assert found["pitch"][125] == pytest.approx((first + second) / 2, abs=1)
    assert found["periodicity"][:40].max() == 0


@pytest.mark.parametrize("syllables", [2, 4, 6])
def test_the_rate_is_that_of_the_syllables(syllables: int, encoder: Any) -> None:
    time = np.arange(4 * RATE) / RATE
    beat = 0.02 + np.sin(np.pi * syllables * time) ** 2
    found = curves(encoder, (vowel(150, 4) * beat).astype(np.float32))["rate"]
    assert found[60:-60].mean() == pytest.approx(syllables, abs=0.3)


def test_rumble_below_the_voice_is_no_syllable(encoder: Any) -> None:
    time = np.arange(2 * RATE) / RATE
    hiss = np.random.default_rng(0).normal(0, 0.1, 2 * RATE) * np.sin(np.pi * 4 * time) ** 2
    assert curves(encoder, hiss.astype(np.float32))["rate"].mean() < 1


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 399, 400, 640, 1599, 1600, 16001])
def test_every_length_gives_the_frames_that_are_announced(samples: int, encoder: Any) -> None:
    clip = vowel(150, 2)[:samples]
    assert len(curves(encoder, clip)["pitch"]) == -(-samples // 160)
    np.testing.assert_array_equal(encoder.encode([vowel(99), clip])[1], encoder.encode([clip])[0])


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package praat-parselmouth: pip install 'emofuse\[prosody\]'"):
        ENCODERS["prosody"].build(EncoderOptions())
    with pytest.raises(UsageError, match="prosody has no weights"):
        ENCODERS["prosody"].build(EncoderOptions(weights="x"))

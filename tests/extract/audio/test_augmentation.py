"""Augmented waveforms: drawn by utterance alone, the same bits in any thread, and as strong as was asked for."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofuse.common.errors import UsageError
from emofuse.extract.audio import augmentation as module
from emofuse.extract.audio.augmentation import TRANSFORMS, Augmentation, augmentations, parse_augment
from emofuse.extract.audio.augmented_waveform import augmented

RATE = 16000
ALL = Augmentation(parse_augment("gain,noise,speed,reverb"), seed=0, copy=1)
WAVE = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


def only(option: str) -> Augmentation:
    """A single transform, which every utterance gets."""
    return Augmentation(parse_augment(option), seed=0, copy=1)


def level(waveform: np.ndarray) -> float:
    """RMS in dB."""
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64))))


@settings(max_examples=20, deadline=None)
@given(id=st.text(min_size=1, max_size=12), samples=st.integers(1, 40_000), seed=st.integers(0, 9))
def test_every_draw_lies_in_its_range_and_the_length_is_known_beforehand(id: str, samples: int, seed: int) -> None:
    drawn = replace(ALL, seed=seed)
    strengths = drawn.strengths(id)
    assert strengths
    assert list(strengths) == [name for name in TRANSFORMS if name in strengths], "always in one order"
    for name, strength in strengths.items():
        assert TRANSFORMS[name].low <= strength <= TRANSFORMS[name].high
    found = augmented(WAVE[:samples], RATE, id, drawn)
    assert found.shape == (drawn.length(id, min(samples, RATE)),)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1


def test_draws_differ_between_utterances_copies_and_seeds_and_cover_every_transform() -> None:
    ids = [f"u{i}" for i in range(400)]
    of = [[drawn.strengths(id) for id in ids] for drawn in (ALL, replace(ALL, copy=2), replace(ALL, seed=1))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert sum(x == y for x, y in zip(of[a], of[b], strict=True)) == 0
    for name in TRANSFORMS:  # 0.5 each, and one of four where none was drawn
        share = np.mean([name in strengths for strengths in of[0]])
        assert share == pytest.approx(0.5 + 0.5**4 / 4, abs=0.08)


def test_threads_change_no_bit_and_the_global_generators_stay_as_they_were() -> None:
    ids = [f"u{i}" for i in range(60)]
    alone = [augmented(WAVE, RATE, id, ALL) for id in ids]
    states = random.getstate(), np.random.get_state()[1].tolist()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda id: augmented(WAVE, RATE, id, ALL), reversed(ids)))[::-1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not any(np.array_equal(alone[0], other) for other in alone[1:])


def test_noise_has_the_drawn_ratio_and_gain_the_drawn_level() -> None:
    noisy, louder = only("noise:12..12"), only("gain:-5..-5")
    noise = augmented(WAVE, RATE, "a", noisy) - WAVE
    assert level(WAVE) - level(noise) == pytest.approx(12, abs=0.3)
    np.testing.assert_allclose(augmented(WAVE, RATE, "a", louder), WAVE * 10 ** (-5 / 20), rtol=1e-5)
    assert not augmented(np.zeros(RATE, np.float32), RATE, "a", noisy).any(), "silence has no level to relate noise to"


def test_speed_shortens_the_clip_and_raises_its_pitch() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32) * 0.5
    faster = augmented(tone, RATE, "a", only("speed:1.25..1.25"))
    assert len(faster) == RATE / 1.25
    spectrum = np.abs(np.fft.rfft(faster))
    assert np.argmax(spectrum) * RATE / len(faster) == pytest.approx(440 * 1.25, abs=2)
    assert np.array_equal(augmented(tone, RATE, "a", only("speed:1..1")), tone)


def test_reverb_decays_by_60_db_in_its_time_and_keeps_level_and_length() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 0.5
    found = augmented(click, RATE, "a", only("reverb:0.5..0.5"))
    assert len(found) == RATE
    assert level(found) == pytest.approx(level(click), abs=0.01)
    fall = level(found[800:1600]) - level(found[4800:5600])  # 0.25 s apart
    assert fall == pytest.approx(30, abs=1.5)
    assert not found[RATE // 2 + 1 :].any() or np.abs(found[RATE // 2 + 1 :]).max() < 1e-6


def test_a_result_that_is_too_loud_is_scaled_to_full_scale() -> None:
    loud = augmented(np.sin(np.arange(RATE)).astype(np.float32), RATE, "a", only("gain:6..6"))
    assert np.abs(loud).max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nois", "named 'nois'. Did you mean 'noise'"),
        ("noise,noise", "names noise twice"),
        ("speed:1.1..0.9", r"expected LOW..HIGH \(factor\) within 0.5..2, such as speed:0.9..1.1"),
        ("speed:0.1..1", "within 0.5..2"),
        ("gain:loud", "expected LOW..HIGH"),
        ("", "transform of augment"),
    ],
)
def test_a_wrong_option_says_what_is_valid(option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_augment(option)


def test_all_wrong_transforms_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"(?s)speed.*loudness"):
        parse_augment("speed:9..9,loudness")


def test_the_recorded_option_gives_the_same_copies() -> None:
    given = Augmentation(parse_augment("gain, speed:0.8..1.2"), seed=3, copy=1)
    assert parse_augment(given.option) == given.ranges
    assert given.identity()["transforms"] == {"speed": {"factor": [0.8, 1.2]}, "gain": {"db": [-6.0, 6.0]}}


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert augmentations(None, 1, 0) == []
    with pytest.raises(UsageError, match=r"pip install 'emofuse\[augment\]'"):
        augmentations("noise", 1, 0)

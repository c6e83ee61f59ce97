"""Energy over time, from a waveform and from log-Mel frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import predict_samples as samples
import pytest

from emofuse.extract.audio.clips import load
from emofuse.report.material.energy import QUIETEST, energy_of_log_mel, energy_of_waveform, log_mel_feature
from emofuse.store import FeatureStore


def test_a_tone_between_silences() -> None:
    silence, times = np.zeros(8_000, np.float32), np.arange(8_000) / 16_000
    tone = np.sin(2 * np.pi * 400 * times).astype(np.float32)
    found = energy_of_waveform(np.concatenate([silence, tone, silence[:100]]), 16_000)
    assert len(found) == 21  # windows of 800 samples, the last one incomplete
    assert found[:10] == pytest.approx(QUIETEST)
    assert found[10:20] == pytest.approx(10 * np.log10(0.5), abs=1e-4)
    assert found[20] == pytest.approx(QUIETEST)


def test_only_static_bands_count() -> None:
    frames = np.concatenate([np.full((4, 26), 2.0), np.full((4, 52), 99.0)], axis=1).astype(np.float16)
    assert energy_of_log_mel(frames, 26) == pytest.approx(10 * np.log10(26 * np.exp(2.0)), abs=1e-4)


def test_both_say_where_an_utterance_is_loud(tmp_path: Path) -> None:
    folder = samples.corpus(tmp_path)
    with FeatureStore(folder / "store.h5") as store:
        feature = log_mel_feature(store)
        assert feature is not None
        for utterance in store.manifest.utterances[:4]:
            of_feature = energy_of_log_mel(feature[utterance.id], feature.fingerprint["bands"])
            waveform = load(folder / "corpus" / str(utterance.audio), 16_000)
            of_audio = energy_of_waveform(waveform, 16_000)
            assert feature.frame_rate == pytest.approx(20 if feature.name == "logmel" else 100)
            step = round(float(feature.frame_rate or 0) / 20)
            coarse = of_feature[::step]
            shared = min(len(coarse), len(of_audio))
            assert np.corrcoef(coarse[:shared], of_audio[:shared])[0, 1] > 0.7

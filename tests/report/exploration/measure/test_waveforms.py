"""Measures of recordings: clipping, level, silence, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emofuse.extract.audio.clips import probe
from emofuse.manifests.schema import Utterance
from emofuse.report.exploration.measure.collection import Entry
from emofuse.report.exploration.measure.waveforms import FLOOR, clipped_share, measure, measure_all, silent_share

RATE = 16000
TONE = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE).astype(np.float32)


def entry(id: str, audio: str | None, corpus: str = "c", **fields: str) -> Entry:
    utterance = Utterance(id=id, audio=audio, text="x", **fields)
    return Entry(
        id=id, corpus=corpus, utterance=utterance, label=None, speaker=None, session=None, gender=None, sentence=None
    )


def test_flat_tops_are_clipped_at_any_gain_and_peaks_are_not() -> None:
    flat = np.clip(2 * TONE, -1, 1)
    assert clipped_share(TONE, 1.0) == 0
    assert clipped_share(flat, 1.0) == pytest.approx(2 / 3, abs=0.01)  # |sin| is over a half for two thirds of the time
    assert clipped_share(0.2 * flat, 0.2) == clipped_share(flat, 1.0)
    assert clipped_share(0.001 * flat, 0.001) == 0


def test_level_offset_and_silence() -> None:
    half = np.concatenate([0.5 * TONE, np.zeros(RATE, np.float32)])
    found = measure(half + 0.0, RATE)
    assert found.peak == pytest.approx(-6.02, abs=0.01)
    assert found.level == pytest.approx(-6.02 - 3.01 - 3.01, abs=0.02)
    assert found.silence == pytest.approx(0.5, abs=0.02)
    assert measure(TONE * 0.1 + np.float32(0.25), RATE).offset == pytest.approx(0.25, abs=1e-3)
    assert silent_share(TONE, RATE) == 0
    assert measure(np.zeros(100, np.float32), RATE).level == FLOOR


def test_clips_missing_changed_and_without_audio(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", 0.5 * TONE, RATE)
    digest = probe(tmp_path / "a.wav").digest
    entries = [
        entry("same", "a.wav", audio_digest=digest),
        entry("changed", "a.wav", audio_digest="0" * 32),
        entry("gone", "b.wav"),
        entry("text", None),
        entry("elsewhere", "a.wav", corpus="other"),
    ]
    found = measure_all(entries, {"c": tmp_path}, quiet=True)
    assert sorted(found.by_id) == ["changed", "same"]
    assert found.changed == ("changed",)
    assert list(found.unreadable) == ["gone"]
    assert found.without_audio == 1

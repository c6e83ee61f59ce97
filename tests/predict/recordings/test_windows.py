"""Where a long recording is cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from emofuse.extract.audio.clips import Clip
from emofuse.manifests.schema import Utterance
from emofuse.predict.config import PredictConfig
from emofuse.predict.recordings.window_reader import WindowReader
from emofuse.predict.recordings.windows import Window, cut

RATE = 16000
UTTERANCE = Utterance(id="a", audio="a.wav")


def spans(seconds: float, window: float | None, hop: float | None = None, **changes: object) -> list[tuple[float, ...]]:
    return [(w.start or 0.0, w.end or 0.0) for w in windows(seconds, window, hop, **changes)]


def windows(seconds: float, window: float | None, hop: float | None = None, **changes: object) -> list[Window]:
    clip = Clip(samples=round(seconds * RATE), sample_rate=RATE, channels=1, digest="d")
    return list(cut(replace(UTTERANCE, **changes), clip, window, hop))  # type: ignore[arg-type]


def test_a_clip_of_up_to_30_seconds_is_whole_and_a_longer_one_is_cut_into_segments() -> None:
    assert spans(30.0, None) == [(0, 30)]
    assert spans(75.0, None) == [(0, 30), (30, 60), (60, 75)]


def test_windows_start_every_hop_until_one_reaches_the_end() -> None:
    assert spans(6.0, 4, 1) == [(0, 4), (1, 5), (2, 6)]
    assert spans(6.5, 4, 1) == [(0, 4), (1, 5), (2, 6), (3, 6.5)]
    assert spans(3.0, 4, 1) == [(0, 3)]


def test_a_last_window_that_is_too_short_is_left_out() -> None:
    assert spans(60.9, None) == [(0, 30), (30, 60)]
    assert spans(61.0, None) == [(0, 30), (30, 60), (60, 61)]
    assert spans(1.24, 0.5) == [(0, 0.5), (0.5, 1.0)]
    assert spans(0.01, 0.5) == [(0, 0.01)], "a clip always has one window"


def test_windows_of_a_part_of_a_recording_are_in_seconds_of_the_file() -> None:
    assert spans(4.0, 2, 2, start=10.0, end=14.0) == [(10, 12), (12, 14)]


def test_a_clip_with_words_of_its_own_is_whole() -> None:
    assert spans(75.0, None, text="so good") == [(0, 75)]


def test_each_window_has_the_samples_that_its_seconds_hold() -> None:
    found = windows(2.5, 1)
    assert [(w.clip.samples if w.clip else 0) for w in found] == [RATE, RATE, RATE // 2]
    assert len({w.utterance.audio_digest for w in found}) == 3
    assert [w.last for w in found] == [False, False, True]
    assert len({w.utterance.id for w in found}) == 3


def test_a_text_alone_has_no_times() -> None:
    (only,) = cut(Utterance(id="t", text="so good"), None, 4, 1)
    assert (only.start, only.end, only.count, only.last) == (None, None, 1, True)


@pytest.mark.parametrize("seconds", [30.00001, 44.1234567, 3600.0])
def test_the_windows_cover_a_recording_up_to_a_second(seconds: float) -> None:
    found = spans(seconds, None)
    assert found[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert 0 <= seconds - found[-1][1] < 1 + 1e-6


def test_recordings_without_sound_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    sf.write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16000), 16000)
    clips = [
        Utterance(id=name, audio=(tmp_path / f"{name}.wav").relative_to("/").as_posix()) for name in ("silent", "noise")
    ]
    reader = WindowReader(PredictConfig(run=tmp_path), tmp_path, lambda id, why: None)
    assert [w.of.id for w in reader.windows(clips)] == ["silent", "noise"]
    assert capsys.readouterr().err == "note: 1 clip without any sound: silent\n"

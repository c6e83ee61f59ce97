"""Clips without sound, and the choice of a channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from extract_samples import extract

from emofuse.extract.audio.channels import CHANNELS, Channel
from emofuse.extract.audio.clips import POLICY, audio_policy, load, probe
from emofuse.store import FeatureStore

RATE = 16000
TONE = (0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)
NONE = np.zeros(RATE, np.float32)


def clip(path: Path, *channels: np.ndarray, subtype: str = "PCM_16") -> Path:
    sf.write(path, np.stack(channels, axis=1), RATE, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("channels", "silent"),
    [
        ((TONE,), ()),
        ((TONE, TONE), ()),
        ((NONE,), CHANNELS),
        ((NONE, NONE), CHANNELS),
        ((TONE, -TONE), ("mean",)),
        ((TONE, -0.99 * TONE), ("mean",)),
        ((TONE, -0.9 * TONE), ()),
        ((TONE, NONE), ("right",)),
        ((NONE, TONE, TONE), ("left",)),
    ],
)
@pytest.mark.parametrize("kind", ["a.wav", "a.flac"])
def test_in_which_mixes_no_sound_is_left(
    tmp_path: Path, channels: tuple[np.ndarray, ...], silent: tuple[str, ...], kind: str
) -> None:
    assert probe(clip(tmp_path / kind, *channels)).silent == set(silent)


def test_a_silent_part_of_a_recording(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav", np.concatenate([TONE, NONE, TONE]), subtype="FLOAT")
    assert probe(path, 1.0, 2.0).silent == set(CHANNELS)
    assert probe(path, 0.9, 2.0).silent == set()
    assert probe(path).silent == set()


@pytest.mark.parametrize(
    ("channel", "expected"), [("mean", 0.2 * TONE), ("left", TONE), ("right", -0.6 * TONE), ("loudest", TONE)]
)
def test_the_channel_that_is_loaded(tmp_path: Path, channel: Channel, expected: np.ndarray) -> None:
    path = clip(tmp_path / "a.wav", TONE, -0.6 * TONE, subtype="FLOAT")
    assert load(path, RATE, channel=channel) == pytest.approx(expected, abs=1e-6)
    mono = clip(tmp_path / "mono.wav", TONE, subtype="FLOAT")
    assert np.array_equal(load(mono, RATE, channel=channel), TONE)


def test_the_default_keeps_the_fingerprint_of_earlier_stores() -> None:
    assert audio_policy("mean") == POLICY
    assert audio_policy("left") == {**POLICY, "mono": "the left channel"}


def test_silent_clips_are_named_once_and_marked_in_the_store(tmp_path: Path) -> None:
    rows = ["id,audio,label"]
    for i in range(12):
        clip(tmp_path / f"z{i}.wav", NONE)
        rows.append(f"z{i},z{i}.wav,joy")
    clip(tmp_path / "opposite.wav", TONE, -TONE)
    clip(tmp_path / "good.wav", TONE, TONE)
    rows += ["opposite,opposite.wav,joy", "good,good.wav,joy"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    own = ("--dataset", "custom", "--root", ".", "--encoder", "logmel", "--store", "s.h5", "--quiet")
    result = extract(tmp_path, *own)
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "note: 12 clips without any sound: z0, z1, z2, z3, z4, z5, z6, z7, z8, z9 and 2 more",
        "note: 1 clip encoded as silence, since the channels cancel each other (other choices: --channel left, right, "
        "loudest): opposite",
    ]
    left = extract(tmp_path, *own, "--channel", "left", "--name", "left")
    assert "opposite" not in left.stderr
    with FeatureStore(tmp_path / "s.h5") as store:
        marks = {u.id: u.extra.get("silent") for u in store.manifest.utterances}
        assert (marks["z0"], marks["opposite"], marks["good"]) == ("no sound", "channels cancel", None)
        mean, one = store.feature("logmel"), store.feature("left")
        assert not np.allclose(mean["opposite"], one["opposite"])
        assert np.allclose(mean["good"], one["good"])
        assert one.fingerprint["audio"]["mono"] == "the left channel"
        assert one.provenance["encoder_options"] == ["--channel", "left"]
    again = extract(tmp_path, *own, "--channel", "right")
    assert (again.returncode, "mean of channels" in again.stderr) == (2, True)


def test_a_channel_without_an_encoder_of_audio_has_no_effect(tmp_path: Path) -> None:
    result = extract(tmp_path, "--dataset", "custom", "--encoder", "hashed", "--channel", "left")
    assert result.returncode == 2
    assert "channel='left' has no effect: hashed reads no audio" in result.stderr


def test_clips_that_are_too_long_are_excluded_on_request(tmp_path: Path) -> None:
    clip(tmp_path / "short.wav", TONE)
    clip(tmp_path / "long.wav", np.tile(TONE, 3))
    (tmp_path / "manifest.csv").write_text("id,audio\nshort,short.wav\nlong,long.wav\n")
    result = extract(
        tmp_path, "--dataset", "custom", "--root", ".", "--encoder", "logmel", "--store", "s.h5", "--max-seconds", "2"
    )
    assert (result.returncode, "1 utterance encoded" in result.stdout) == (1, True)
    assert "long: audio: lasts 3.00 s, longer than --max-seconds 2" in result.stderr
    with FeatureStore(tmp_path / "s.h5") as store:
        assert store.feature("logmel").ids == ["short"]
        assert store.feature("logmel").provenance["corpus_options"][-2:] == ["--max-seconds", "2.0"]

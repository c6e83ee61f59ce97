"""Reading audio: counting, cutting, mixing to mono, and the files that are refused."""

from __future__ import annotations

import io
import json
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from emofuse.extract.audio import clips, decoding, resampling
from emofuse.extract.audio.clips import AudioError, load, probe
from emofuse.extract.audio.resampling import resampled_length


def tone(samples: int, rate: int, channels: int = 1, frequency: float = 440.0) -> np.ndarray:
    wave = 0.4 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)
    return (wave[:, None] * np.linspace(1.0, 0.5, channels)).astype(np.float32)


def wav(path: Path, samples: int = 16000, rate: int = 16000, channels: int = 1, subtype: str = "PCM_16") -> Path:
    sf.write(path, tone(samples, rate, channels), rate, subtype=subtype)
    return path


def aac(path: Path, samples: int = 48000, rate: int = 48000, layout: str = "mono") -> Path:
    """An mp4 with one AAC track, as MELD's clips have."""
    import av

    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(tone(samples, rate, channels).T), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [
        (16000, 1, 16000),
        (8000, 2, 4001),
        (44100, 1, 44101),
        (48000, 3, 50000),
        (22050, 2, 7),
        (11025, 1, 1),
        (96000, 1, 99),
    ],
)
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_load_returns_what_probe_promises(tmp_path: Path, rate: int, channels: int, samples: int, suffix: str) -> None:
    path = wav(tmp_path / f"clip.{suffix}", samples, rate, channels)
    clip = probe(path)
    assert (clip.samples, clip.sample_rate, clip.channels) == (samples, rate, channels)
    assert clip.seconds == pytest.approx(samples / rate)
    waveform = load(path, 16000)
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    assert waveform.shape == (resampled_length(samples, rate, 16000),)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tone_survives_resampling(tmp_path: Path, rate: int) -> None:
    waveform = load(wav(tmp_path / "tone.wav", rate, rate, subtype="FLOAT"), 16000)
    expected = tone(16000, 16000)[:, 0]
    assert np.abs(waveform - expected)[500:-500].max() < 1e-3


def test_frequencies_above_the_new_nyquist_frequency_are_removed(tmp_path: Path) -> None:
    sf.write(tmp_path / "high.wav", tone(48000, 48000, frequency=9000.0), 48000, subtype="FLOAT")
    assert np.abs(load(tmp_path / "high.wav", 16000)[500:-500]).max() < 1e-3


def test_channels_are_mixed_by_their_mean(tmp_path: Path) -> None:
    stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    sf.write(tmp_path / "stereo.wav", stereo, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "stereo.wav", 16000), np.full(100, 0.125, dtype=np.float32))


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
def test_samples_are_libsndfiles_and_mixed_as_numpy_does(tmp_path: Path, subtype: str, channels: int) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (3000, channels)).astype(np.float32)
    noise[:4] = [[1], [-1], [0], [1e-5]]
    sf.write(tmp_path / "clip.wav", noise, 16000, subtype=subtype)
    read = sf.read(tmp_path / "clip.wav", dtype="float32", always_2d=True)[0]
    waveform = load(tmp_path / "clip.wav", 16000)
    np.testing.assert_array_equal(waveform, read.T.mean(axis=0, dtype=np.float32))
    assert waveform.flags.writeable


@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_24", 2), ("PCM_S8", 8)])
def test_flac_at_once_is_flac_in_blocks(
    tmp_path: Path, subtype: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.flac"
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, (30_001, channels)), 16000, subtype=subtype)
    at_once = load(path, 16000)
    monkeypatch.setattr(decoding, "_SINGLE_READ_SAMPLES", 30_000 * channels)
    np.testing.assert_array_equal(load(path, 16000), at_once)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_short_cut_does_not_keep_its_recording_in_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    sf.write(path, tone(160_000, 16000), 16000)
    waveform = load(path, 16000, start=1.0, end=1.5)
    assert waveform.base is None
    assert len(waveform) == 8000


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_cut_equals_the_same_samples_of_the_whole_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    sf.write(path, tone(32000, 16000), 16000)
    whole, part = load(path, 16000), load(path, 16000, start=0.25, end=1.5)
    np.testing.assert_array_equal(part, whole[4000:24000])
    assert probe(path, 0.25, 1.5).samples == 20000
    assert probe(path, 0.25).samples == 28000
    assert probe(path, None, 2.05).samples == 32000, "annotations are rounded"
    with pytest.raises(AudioError, match=r"lasts 2\.00 s, but the utterance ends at 9 s"):
        probe(path, None, 9.0)


def test_a_cut_starts_and_ends_at_the_nearest_sample_as_the_fingerprint_promises(tmp_path: Path) -> None:
    path = wav(tmp_path / "clip.wav")
    assert clips.POLICY["cut"] == "from round(start * rate) to round(end * rate)"
    start, end = 1000.6 / 16000, 2000.7 / 16000
    np.testing.assert_array_equal(load(path, 16000, start, end), load(path, 16000)[1001:2001])
    assert probe(path, start, end).samples == 1000
    assert probe(path, 1000.4 / 16000, 2000.3 / 16000).samples == 1000


def test_digests_tell_bytes_and_cuts_apart(tmp_path: Path) -> None:
    path, copy = wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav")
    digests = [probe(path, *cut).digest for cut in ((None, None), (0.0, None), (None, 1.0), (0.0, 0.5), (0.5, None))]
    assert len(set(digests)) == 5
    assert all(len(d) == 32 for d in digests)
    assert probe(copy).digest == digests[0]
    sf.write(path, tone(16000, 16000) * 0.9, 16000)
    assert probe(path).digest != digests[0]


def test_of_a_truncated_file_the_samples_that_exist_are_counted(tmp_path: Path) -> None:
    path = wav(tmp_path / "cut.wav", 16000, 16000, 2)
    path.write_bytes(path.read_bytes()[: 44 + 4 * 5000 + 3])
    assert probe(path).samples == 5000
    assert len(load(path, 16000)) == 5000
    assert probe(path).lost == pytest.approx(11000 / 16000, abs=0.01)
    assert probe(wav(tmp_path / "whole.wav")).lost == 0


def test_of_a_streamed_file_without_a_length_the_samples_that_exist_are_counted(tmp_path: Path) -> None:
    data = bytearray(wav(tmp_path / "pipe.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    data[4:8] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "pipe.wav").write_bytes(data)
    assert probe(tmp_path / "pipe.wav").lost == 0
    assert probe(tmp_path / "pipe.wav").samples == len(load(tmp_path / "pipe.wav", 16000)) == 16000


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_a_cut_compressed_file_counts_what_decodes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48000)
    sf.write(path, noise, 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples = probe(path).samples
    assert 8000 < samples < 30000
    assert len(load(path, 16000)) == samples


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_the_aac_track_of_an_mp4(tmp_path: Path, layout: str) -> None:
    path = aac(tmp_path / "clip.mp4", layout=layout)
    clip = probe(path)
    assert (clip.sample_rate, clip.channels) == (48000, {"mono": 1, "stereo": 2, "5.1": 6}[layout])
    assert abs(clip.samples - 48000) <= 1024  # whole AAC frames
    waveform = load(path, 16000)
    assert len(waveform) == resampled_length(clip.samples, 48000, 16000)
    # Without the codec's priming the tone starts where it started.
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.corrcoef(waveform[1000:15000], expected[1000:15000])[0, 1] > 0.99
    assert len(load(path, 16000, start=0.25, end=0.5)) == 4000 == probe(path, 0.25, 0.5).samples // 3


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    assert probe(wav(tmp_path / "clip.wav").rename(tmp_path / "clip.mp4")).samples == 16000
    assert probe(wav(tmp_path / "clip.wav").rename(tmp_path / "clip.raw")).samples == 16000
    assert probe(aac(tmp_path / "other.mp4").rename(tmp_path / "other.wav")).sample_rate == 48000


def test_a_silent_clip_is_a_clip(tmp_path: Path) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros((4000, 2)), 8000)
    np.testing.assert_array_equal(load(tmp_path / "silent.wav", 16000), np.zeros(8000, dtype=np.float32))


def _broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "clip.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "junk":
        path.write_bytes(b"no audio in here " * 50)
    elif kind == "no samples":
        sf.write(path, np.zeros(0), 16000)
    elif kind == "cut mp4":
        whole = aac(tmp_path / "whole.mp4").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "no audio":
        import av

        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 16
            for packet in [*stream.encode(av.VideoFrame(16, 16, "yuv420p")), *stream.encode(None)]:
                container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("absent", "cannot be opened: No such file"),
        ("folder", "is not a file"),
        ("empty", "is empty"),
        ("junk", "is a text file, not audio; it begins with '"),
        ("no samples", "holds no samples"),
        ("cut mp4", "is an mp4 file without its index"),
        ("no audio", "has no audio stream"),
    ],
)
def test_a_clip_without_audio_is_refused_with_a_short_reason(tmp_path: Path, kind: str, reason: str) -> None:
    path = _broken(tmp_path, kind)
    for read in (lambda: probe(path), lambda: load(path, 16000)):
        with pytest.raises(AudioError, match=reason) as caught:
            read()
        assert len(str(caught.value)) < 100
        assert "\n" not in str(caught.value)


def test_a_failing_disk_is_reported_and_the_file_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []

    def fail(file: io.BufferedReader) -> str:
        files.append(file)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(clips, "_digest", fail)
    with pytest.raises(AudioError, match="cannot be opened: Input/output error"):
        probe(wav(tmp_path / "clip.wav"))
    assert files[0].closed


@pytest.mark.parametrize("cut", [(0.5, 0.5), (1.5, 1.0), (2.0, None), (None, 0.0), (1.0, 1.05)])
def test_a_cut_without_samples_is_refused(tmp_path: Path, cut: tuple[float | None, float | None]) -> None:
    path = wav(tmp_path / "clip.wav")
    for read in (lambda: probe(path, *cut), lambda: load(path, 16000, *cut)):
        with pytest.raises(AudioError, match="holds no samples between"):
            read()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = tone(1000, 16000)[:, 0]
    samples[500] = value
    sf.write(tmp_path / "clip.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        load(tmp_path / "clip.wav", 16000)


def test_the_policy_can_be_stored_and_names_the_filter_in_use() -> None:
    stored = json.loads(json.dumps(clips.POLICY))
    assert stored["resampling"].items() >= resampling.KAISER_BEST.items()
    assert stored["version"] == 1


def test_real_speech(shared: Path) -> None:
    path = sorted((shared / "data/emodb/wav").glob("*.wav"))[0]
    clip, waveform = probe(path), load(path, 16000)
    assert clip.sample_rate == 16000
    assert len(waveform) == clip.samples
    assert 0.05 < np.abs(waveform).max() <= 1.0

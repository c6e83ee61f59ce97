"""WAV headers that do not say how much the file holds."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from emofuse.extract.audio.clips import AudioError, load, probe


def wav(path: Path, riff: int | None = None, data: int | None = None) -> Path:
    """1.5 s at 16 kHz, 48,000 bytes of samples, under a header with other sizes."""
    sf.write(path, 0.1 * np.sin(np.arange(24000)), 16000, subtype="PCM_16")
    plain = bytearray(path.read_bytes())
    assert (plain[36:40], len(plain)) == (b"data", 48044)
    for position, size in ((4, riff), (40, data)):
        if size is not None:
            plain[position : position + 4] = struct.pack("<I", size)
    path.write_bytes(plain)
    return path


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFFFFF, 0x7FFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (2000000036, 2000000000),
        (0x40000024, 0x40000000),
        (0x3FFFFFFF, 0x3FFFFFFF - 36),
    ],
)
def test_placeholders_of_streamed_files_are_not_reported(tmp_path: Path, riff: int, data: int) -> None:
    clip = probe(wav(tmp_path / "a.wav", riff, data))
    assert (clip.samples, clip.lost, clip.unread) == (24000, 0, 0)
    assert len(load(tmp_path / "a.wav", 16000)) == 24000


def test_a_cut_file_is_reported_with_the_seconds_that_are_missing(tmp_path: Path) -> None:
    assert probe(wav(tmp_path / "a.wav", 96036, 96000)).lost == pytest.approx(1.5)


@pytest.mark.parametrize("riff", [0, 48036])
def test_a_header_of_0_bytes_with_samples_behind_it(tmp_path: Path, riff: int) -> None:
    with pytest.raises(AudioError, match="its header declares 0 bytes of them, and 48000 bytes follow; write the"):
        probe(wav(tmp_path / "a.wav", riff, 0))


def test_samples_behind_those_that_the_header_declares(tmp_path: Path) -> None:
    clip = probe(wav(tmp_path / "a.wav", 48036, 24000))
    assert (clip.seconds, clip.unread) == (0.75, pytest.approx(0.75))


def test_a_chunk_behind_the_samples_is_no_sound(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 20000) + bytes(20000))
    assert probe(path).unread == 0

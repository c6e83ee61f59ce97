"""A clip's length and digest (`probe`), and its waveform at an encoder's sampling rate (`load`).

`probe` counts exactly the samples that `load` decodes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from emofuse.extract.audio.decoding import (
    AudioError,
    Channels,
    decode_stream,
    is_counted,
    missing_seconds,
    open_sound,
    opened,
    read_all,
    read_counted,
    require_finite,
)
from emofuse.extract.audio.resampling import KAISER_BEST, Waveform, resample

__all__ = ["POLICY", "AudioError", "Clip", "load", "probe"]

END_TOLERANCE = 0.1
"""Seconds that an annotated end may lie beyond the end of the file: annotations are rounded."""
POLICY: dict[str, Any] = {
    "version": 1,
    "decode": "float32 in -1..1; libsndfile, else FFmpeg: first audio stream without damaged packets and priming",
    "cut": "from round(start * rate) to round(end * rate)",
    "mono": "mean of channels",
    "resampling": {**KAISER_BEST, "length": "ceil(samples * new / old)"},
}
"""How a file becomes a waveform; part of every audio feature's fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """An utterance's audio in its file, before mixing to mono and resampling."""

    samples: int
    """Per channel, at `sample_rate`, between start and end."""
    sample_rate: int
    """Hz."""
    channels: int
    digest: str
    """xxh3_128 of the file's bytes, and of start and end where they are given."""
    lost: float = 0.0
    """Seconds that the file's header promises beyond the end of the file."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def probe(path: Path, start: float | None = None, end: float | None = None) -> Clip:
    """The clip that `path` holds between `start` and `end` (seconds).

    Raises:
        AudioError: The file is missing or cannot be decoded, or no sample lies between start and end.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror}") from None
    # Many utterances may be cut from one recording: its bytes are read and counted once.
    whole = _probe_file(path, stat.st_size, stat.st_mtime_ns)
    first, stop = _cut(whole.samples, whole.sample_rate, start, end)
    digest = whole.digest
    if start is not None or end is not None:
        digest = xxhash.xxh3_128_hexdigest(f"{digest} {start} {end}".encode())
    return replace(whole, samples=stop - first, digest=digest)


def load(path: Path, sample_rate: int, start: float | None = None, end: float | None = None) -> Waveform:
    """The clip between `start` and `end` (seconds) as a mono waveform at `sample_rate` Hz.

    Returns:
        float32 in -1..1, [`resampled_length(samples, the file's rate, sample_rate)`].

    Raises:
        AudioError: As `probe`, or the decoded samples are not finite numbers.
    """
    with opened(path) as file:
        channels, rate = _decode(file, start, end)
    waveform = _mono(require_finite(channels))
    return waveform if rate == sample_rate else resample(waveform, rate, sample_rate)


def decode_to_wav(path: Path, target: Path) -> bool:
    """Write all samples of a compressed recording to a WAV file, from which any part of it can be read at once.

    Returns:
        False, without a file, where `path` itself can be read so.

    Raises:
        AudioError: As `load`.
    """
    import soundfile

    with opened(path) as file:
        sound = open_sound(file)
        if sound is None:
            channels, rate = decode_stream(file)
        else:
            with sound:
                if is_counted(sound):
                    return False
                channels, rate = read_all(sound, file), sound.samplerate
    soundfile.write(target, channels.T, rate, format="RF64", subtype="FLOAT")
    return True


def _decode(file: io.BufferedReader, start: float | None, end: float | None) -> tuple[Channels, int]:
    """Channels [C, N] between start and end, and the file's sampling rate in Hz."""
    sound = open_sound(file)
    if sound is None:
        channels, rate = decode_stream(file)
    else:
        with sound:
            rate = sound.samplerate
            if is_counted(sound):
                first, stop = _cut(sound.frames, rate, start, end)
                sound.seek(first)
                return read_counted(sound, stop - first), rate
            # A lossy stream decodes to the same samples only from its beginning.
            channels = read_all(sound, file)
    first, stop = _cut(channels.shape[1], rate, start, end)
    return channels[:, first:stop], rate


@lru_cache(maxsize=64)
def _probe_file(path: Path, size: int, modified: int) -> Clip:
    """The whole file as a clip; `size` (bytes) and `modified` (ns) are part of the cache's key."""
    with opened(path) as file:
        digest = _digest(file)
        sound = open_sound(file)
        lost = 0.0
        if sound is None:
            channels, rate = decode_stream(file)
            count, samples = channels.shape
        else:
            with sound:
                lost = missing_seconds(file, sound)
                # Only floating-point files can hold NaN, and that must be known before anything is encoded.
                header_suffices = is_counted(sound) and sound.subtype not in ("FLOAT", "DOUBLE")
                samples = sound.frames if header_suffices else require_finite(read_all(sound, file)).shape[1]
                rate, count = sound.samplerate, sound.channels
    return Clip(samples=samples, sample_rate=rate, channels=count, digest=digest, lost=lost)


def _digest(file: io.BufferedReader) -> str:
    state, block = xxhash.xxh3_128(), bytearray(1 << 18)
    while size := file.readinto(block):
        state.update(memoryview(block)[:size])
    return state.hexdigest()


def _cut(samples: int, rate: int, start: float | None, end: float | None) -> tuple[int, int]:
    """The first sample of the clip, and the one after its last."""
    first = 0 if start is None else max(0, round(start * rate))
    stop = samples if end is None else min(samples, round(end * rate))
    if samples == 0:
        raise AudioError("holds no samples")
    if end is not None and end > samples / rate + END_TOLERANCE:
        raise AudioError(f"lasts {samples / rate:.2f} s, but the utterance ends at {end:g} s")
    if first >= stop:
        raise AudioError(f"holds no samples between {start or 0:g} and {samples / rate if end is None else end:g} s")
    return first, stop


def _mono(channels: Channels) -> Waveform:
    """The mean [N] of channels [C, N]; of one or two as numpy computes it, but faster than over a short axis."""
    mono: Waveform
    if len(channels) == 1:
        mono = channels[0].copy()  # a view would keep the whole recording in memory
    elif len(channels) == 2:
        mono = (channels[0] + channels[1]) / np.float32(2)
    else:
        mono = channels.mean(axis=0, dtype=np.float32)
    return mono

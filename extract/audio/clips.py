"""A clip's length and digest (`probe`), and its waveform at an encoder's sampling rate (`load`).

`probe` counts exactly the samples that `load` decodes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from emofuse.extract.audio.channels import BLOCK, MIXES, Activity, Channel, activity, mix, silent_mixes
from emofuse.extract.audio.decoding import (
    AudioError,
    Channels,
    decode_stream,
    is_counted,
    open_sound,
    opened,
    read_all,
    read_counted,
    require_finite,
)
from emofuse.extract.audio.resampling import KAISER_BEST, Waveform, resample
from emofuse.extract.audio.wav_header import unmatched_seconds

if TYPE_CHECKING:
    import soundfile

__all__ = ["POLICY", "AudioError", "Clip", "load", "probe"]

_READ_SAMPLES = 1024 * BLOCK
END_TOLERANCE = 0.1
"""Seconds that an annotated end may lie beyond the end of the file: annotations are rounded."""
POLICY: dict[str, Any] = {
    "version": 1,
    "decode": "float32 in -1..1; libsndfile, else FFmpeg: first audio stream without damaged packets and priming",
    "cut": "from round(start * rate) to round(end * rate)",
    "mono": MIXES["mean"],
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
    unread: float = 0.0
    """Seconds of samples that lie behind those that the file's header declares."""
    silent: frozenset[Channel] = frozenset()
    """The ways to mix its channels that leave no sound; all of them where it holds none."""

    @property
    def is_silent(self) -> bool:
        """Whether it holds no sound in any channel."""
        return len(self.silent) == len(MIXES)

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
    whole, active = _probe_file(path, stat.st_size, stat.st_mtime_ns)
    first, stop = _cut(whole.samples, whole.sample_rate, start, end)
    digest = whole.digest
    if start is not None or end is not None:
        digest = xxhash.xxh3_128_hexdigest(f"{digest} {start} {end}".encode())
    silent = silent_mixes(active, first, stop, whole.samples)
    return replace(whole, samples=stop - first, digest=digest, silent=silent)


def audio_policy(channel: Channel) -> dict[str, Any]:
    """How a file becomes a waveform with another choice of channel."""
    return {**POLICY, "mono": MIXES[channel]}


def load(
    path: Path, sample_rate: int, start: float | None = None, end: float | None = None, channel: Channel = "mean"
) -> Waveform:
    """The clip between `start` and `end` (seconds) as a mono waveform at `sample_rate` Hz.

    Returns:
        float32 in -1..1, [`resampled_length(samples, the file's rate, sample_rate)`].

    Raises:
        AudioError: As `probe`, or the decoded samples are not finite numbers.
    """
    with opened(path) as file:
        channels, rate = _decode(file, start, end)
    waveform = mix(require_finite(channels), channel)
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
def _probe_file(path: Path, size: int, modified: int) -> tuple[Clip, Activity]:
    """The whole file as a clip, and where it has sound; `size` (bytes) and `modified` (ns) are part of the key."""
    with opened(path) as file:
        digest = _digest(file)
        sound = open_sound(file)
        lost = unread = 0.0
        if sound is None:
            channels, rate = decode_stream(file)
            active = activity(channels)
            count, samples = channels.shape
        else:
            with sound:
                lost, unread = unmatched_seconds(file, sound.frames / sound.samplerate)
                samples, active = _read_through(sound, file)
                rate, count = sound.samplerate, sound.channels
    clip = Clip(samples=samples, sample_rate=rate, channels=count, digest=digest, lost=lost, unread=unread)
    return clip, active


def _read_through(sound: soundfile.SoundFile, file: io.BufferedReader) -> tuple[int, Activity]:
    """The number of samples of a sound just opened from `file`, and where they are audible."""
    # Only floating-point files can hold NaN, and that must be known before anything is encoded.
    if not is_counted(sound) or sound.subtype in ("FLOAT", "DOUBLE"):
        channels = require_finite(read_all(sound, file))
        return channels.shape[1], activity(channels)
    steps = range(0, sound.frames, _READ_SAMPLES)
    parts = [activity(read_counted(sound, min(_READ_SAMPLES, sound.frames - first))) for first in steps]
    return sound.frames, np.concatenate(parts) if parts else np.empty((0, len(MIXES)), dtype=bool)


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

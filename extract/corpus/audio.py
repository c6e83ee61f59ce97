"""The one place that reads audio: what a clip holds (`probe`) and its waveform as an encoder wants it (`load`).

The content decides the decoder, not the file's suffix: libsndfile (wav, flac, ogg, ...) first, then PyAV (mp4, m4a,
...), whose wheel carries FFmpeg. `probe` counts exactly the samples that `load` decodes.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from emofuse.common.errors import EmofuseError
from emofuse.extract.corpus.torchaudio_compat import import_torchaudio, require

if TYPE_CHECKING:
    import soundfile
    import torch

Waveform = NDArray[np.float32]

# librosa's and resampy's "kaiser_best", as torchaudio's documentation translates it.
_KAISER_BEST: Mapping[str, Any] = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
# Headers of these are held against the file's true size; compressed formats are decoded to count.
_COUNTED_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"}
_COUNTED_ENCODINGS = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_LARGEST_FILTER = 30_000_000
_SIDE_BY_SIDE = 16
"""Filters that a convolution computes at the price of one."""
_LONG = 32768
"""Samples from which on torch rounds a convolution the same however many filters it has."""
_STEEPEST = 16
"""Down to what part of a rate filters are copied: beyond any microphone's they become too long for that."""
_AT_ONCE = 1 << 24
"""Samples of all channels that are decoded in one call, 64 MB: a header may promise more than there is."""

_UNKNOWN_SIZE = 0x7FFF0000
"""Bytes from which on a WAV header means that its writer, a pipe, did not know."""
END_TOLERANCE = 0.1
"""Seconds that an utterance may end after its file: annotations are rounded."""
POLICY: dict[str, Any] = {
    "version": 1,
    "decode": "float32 in -1..1; libsndfile, else FFmpeg: first audio stream without damaged packets and priming",
    "cut": "from round(start * rate) to round(end * rate)",
    "mono": "mean of channels",
    "resampling": {**_KAISER_BEST, "length": "ceil(samples * new / old)"},
}
"""How a file becomes a waveform; part of every audio feature's fingerprint."""


class AudioError(EmofuseError):
    """A clip without usable audio; the message is the short reason it is excluded with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What an utterance's audio holds, before mixing and resampling."""

    samples: int
    """Per channel, at `sample_rate`, between start and end."""
    sample_rate: int
    channels: int
    digest: str
    """xxh3_128 over the file's bytes, and over start and end where one is given."""
    lost: float = 0.0
    """Seconds that the file's header promises beyond what is there."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def probe(path: Path, start: float | None = None, end: float | None = None) -> Clip:
    """What `path` holds between `start` and `end` (seconds).

    Raises:
        AudioError: The file is absent or cannot be decoded, or no sample lies between start and end.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror}") from None
    # Many utterances may be cut from one recording: its bytes are read and counted once.
    whole = _whole(path, stat.st_size, stat.st_mtime_ns)
    first, stop = _cut(whole.samples, whole.sample_rate, start, end)
    digest = whole.digest
    if start is not None or end is not None:
        digest = xxhash.xxh3_128_hexdigest(f"{digest} {start} {end}".encode())
    return replace(whole, samples=stop - first, digest=digest)


def load(path: Path, sample_rate: int, start: float | None = None, end: float | None = None) -> Waveform:
    """The clip as a mono waveform [`resampled_length(samples, native rate, sample_rate)`], float32 in -1..1.

    Raises:
        AudioError: As `probe`, or the decoded samples are not finite numbers.
    """
    with _opened(path) as file:
        sound = _sound(file)
        if sound is None:
            channels, rate = _decode_stream(file)
            first, stop = _cut(channels.shape[1], rate, start, end)
            channels = channels[:, first:stop]
        else:
            with sound:
                rate = sound.samplerate
                # A lossy stream decodes the same only from its beginning.
                if _counted(sound):
                    first, stop = _cut(sound.frames, rate, start, end)
                    sound.seek(first)
                    channels = _read_counted(sound, stop - first)
                else:
                    channels = _read_all(sound, file)
                    first, stop = _cut(channels.shape[1], rate, start, end)
                    channels = channels[:, first:stop]
    return resample(_mono(_finite(channels)), rate, sample_rate)


def resampled_length(samples: int, old: int, new: int) -> int:
    """Samples that `load` returns at `new` Hz for a clip of `samples` at `old` Hz: ceil(samples * new / old)."""
    return -(-samples * new // old)


def resample(waveform: Waveform, old: int, new: int) -> Waveform:
    """`waveform` [samples] at `old` Hz, at `new` Hz.

    Raises:
        AudioError: The two rates share so small a factor that the filter would not fit in memory.
    """
    if old == new:
        return np.ascontiguousarray(waveform)
    factor = math.gcd(old, new)
    if old // factor * (new // factor) > _LARGEST_FILTER:
        raise AudioError(f"has a sampling rate of {old} Hz, which cannot be resampled to {new} Hz")
    import torch

    old, new = old // factor, new // factor
    wanted = resampled_length(len(waveform), old, new)
    copies = -(-_SIDE_BY_SIDE // new) if len(waveform) >= _LONG and old <= _STEEPEST * new else 1
    filters, width = _filters(old, new, copies)
    step = copies * old
    # With enough zeros for the last sample; torchaudio rounds its length in float32, one short for long clips.
    around = (width, filters.shape[2] - width + 2 * step)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(torch.from_numpy(waveform), around)
        result = torch.nn.functional.conv1d(padded[None, None], filters, stride=step)[0]
    return np.ascontiguousarray(result.T.numpy().reshape(-1)[:wanted])


@lru_cache(maxsize=8)
def _filters(old: int, new: int, copies: int) -> tuple[torch.Tensor, int]:
    """torchaudio's filters from `old` to `new` Hz, without a common factor, and the samples that they begin too early.

    There are `new` filters, one for each of the samples that `old` samples become. `copies` of them stand side by side,
    each beginning `old` samples after the one before it, [copies * new, 1, taps]: from 48 to 16 kHz there is one
    filter, which alone takes eight times as long.
    """
    import torch

    # In float32, as functional.resample computes them at every call.
    made = import_torchaudio().transforms.Resample(old, new, dtype=torch.float32, **_KAISER_BEST)
    taps = made.kernel.shape[2]
    filters = torch.zeros(copies, new, taps + (copies - 1) * old)
    for n in range(copies):
        filters[n, :, n * old : n * old + taps] = made.kernel[:, 0]
    return filters.flatten(0, 1)[:, None], made.width


@lru_cache(maxsize=64)
def _whole(path: Path, size: int, modified: int) -> Clip:
    with _opened(path) as file:
        digest = _digest(file)
        sound = _sound(file)
        lost = 0.0
        if sound is None:
            channels, rate = _decode_stream(file)
            samples, count = channels.shape[1], channels.shape[0]
        else:
            with sound:
                lost = _lost(file, sound)
                # Only floating-point files can hold what is no number, and it must be known before anything is encoded.
                trusted = _counted(sound) and sound.subtype not in ("FLOAT", "DOUBLE")
                samples = sound.frames if trusted else _finite(_read_all(sound, file)).shape[1]
                rate, count = sound.samplerate, sound.channels
    return Clip(samples=samples, sample_rate=rate, channels=count, digest=digest, lost=lost)


def _lost(file: io.BufferedReader, sound: soundfile.SoundFile) -> float:
    """Seconds that a WAV file's header promises beyond what is there: so does a copy that was broken off."""
    head, size = os.pread(file.fileno(), 8, 0), os.fstat(file.fileno()).st_size
    promised = int.from_bytes(head[4:], "little") + 8
    if head[:4] != b"RIFF" or promised >= _UNKNOWN_SIZE or not sound.frames:
        return 0.0
    lost = sound.frames / sound.samplerate * (promised - size) / size
    return lost if lost > END_TOLERANCE else 0.0


def _digest(file: io.BufferedReader) -> str:
    state, block = xxhash.xxh3_128(), bytearray(1 << 18)
    while size := file.readinto(block):
        state.update(memoryview(block)[:size])
    return state.hexdigest()


def _finite(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(channels).all():
        raise AudioError("holds samples that are not numbers (NaN or infinite)")
    return channels


def _cut(samples: int, rate: int, start: float | None, end: float | None) -> tuple[int, int]:
    first = 0 if start is None else max(0, round(start * rate))
    stop = samples if end is None else min(samples, round(end * rate))
    if samples == 0:
        raise AudioError("holds no samples")
    if end is not None and end > samples / rate + END_TOLERANCE:
        raise AudioError(f"lasts {samples / rate:.2f} s, but the utterance ends at {end:g} s")
    if first >= stop:
        raise AudioError(f"holds no samples between {start or 0:g} and {samples / rate if end is None else end:g} s")
    return first, stop


def _mono(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean [N] of channels [C, N]; of one or two as numpy computes it, without its slow way over a short axis."""
    mono: NDArray[np.float32]
    if len(channels) == 1:
        mono = channels[0].copy()  # a cut would keep the whole recording in memory
    elif len(channels) == 2:
        mono = (channels[0] + channels[1]) / np.float32(2)
    else:
        mono = channels.mean(axis=0, dtype=np.float32)
    return mono


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file; whatever goes wrong with it, a disk's failing as well, is an `AudioError`."""
    _check_packages()
    import soundfile

    try:
        size = path.stat().st_size
        if not path.is_file():
            raise AudioError("is not a file")
        if not size:
            raise AudioError("is empty (0 bytes)")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror}") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"cannot be decoded: {error.error_string}") from None


@lru_cache(maxsize=1)  # looking for a package that is not imported yet takes as long as opening a clip
def _check_packages() -> None:
    require("soundfile", "av")


def _sound(file: io.BufferedReader) -> soundfile.SoundFile | None:
    """Through the file's descriptor: libsndfile reads what it needs itself, and sees no suffix to judge by."""
    import soundfile

    file.seek(0)
    try:
        return soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        return None


def _counted(sound: soundfile.SoundFile) -> bool:
    return sound.format in _COUNTED_FORMATS and sound.subtype.startswith(_COUNTED_ENCODINGS)


def _read_counted(sound: soundfile.SoundFile, samples: int) -> NDArray[np.float32]:
    """The next `samples` [C, samples] of a counted format; those of 16 bits scaled as by libsndfile, but faster."""
    pcm16 = sound.subtype == "PCM_16"
    read = sound.read(samples, dtype="int16" if pcm16 else "float32", always_2d=True).T
    channels: NDArray[np.float32] = np.multiply(read, np.float32(2**-15), dtype=np.float32) if pcm16 else read
    return channels


def _read_all(sound: soundfile.SoundFile, file: io.BufferedReader) -> NDArray[np.float32]:
    """What decodes from the beginning of a sound, newly opened from `file`.

    soundfile seeks after every reading, which for FLAC takes a third of the time. It is read at once where that is
    sure to give the same: not a lossy stream, of which each seek begins another decoding.
    """
    import soundfile

    if (_counted(sound) or sound.format == "FLAC") and sound.frames * sound.channels <= _AT_ONCE:
        with contextlib.suppress(soundfile.LibsndfileError):
            whole = sound.read(dtype="float32", always_2d=True)
            if 0 < len(whole) == sound.frames:
                return np.ascontiguousarray(whole.T)
        again = _sound(file)
        assert again is not None
        with again:
            return _read_blocks(again)
    return _read_blocks(sound)


def _read_blocks(sound: soundfile.SoundFile) -> NDArray[np.float32]:
    """What decodes, in blocks: a cut or damaged stream ends where its last good block ends."""
    import soundfile

    blocks = []
    while True:
        try:
            block = sound.read(4096, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            break
        if not len(block):
            break
        blocks.append(block)
    if not blocks:
        raise AudioError("cannot be decoded: no block of it is intact")
    return np.ascontiguousarray(np.concatenate(blocks).T)


def _decode_stream(file: io.BufferedReader) -> tuple[NDArray[np.float32], int]:
    import av

    file.seek(0)
    data = file.read()  # without the file's name, of which FFmpeg would judge by the suffix
    blocks: list[NDArray[np.float32]] = []
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                raise AudioError("has no audio stream")
            stream = container.streams.audio[0]
            to_float = av.AudioResampler(format="fltp")
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue
                blocks += [f.to_ndarray() for frame in frames for f in to_float.resample(frame)]
            rate = int(stream.rate)
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"cannot be decoded: {reason}") from None
    if not blocks:
        raise AudioError("cannot be decoded: no packet of its audio stream is intact")
    return np.concatenate(blocks, axis=1), rate

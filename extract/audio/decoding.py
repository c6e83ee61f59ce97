"""Decodes audio files to channels of float32 samples: the only module that opens them.

The content decides the decoder, not the file's suffix: libsndfile (wav, flac, ogg, ...) first, then PyAV (mp4, m4a,
...), whose wheel carries FFmpeg.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import EmofuseError
from emofuse.extract.audio.torchaudio_compat import require
from emofuse.extract.audio.unreadable import what_it_is

if TYPE_CHECKING:
    import soundfile

Channels = NDArray[np.float32]
"""Samples [C, N] in -1..1."""

# The headers of these formats are checked against the file's size; compressed formats are decoded to count samples.
_COUNTED_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"}
_COUNTED_ENCODINGS = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_SINGLE_READ_SAMPLES = 1 << 24
"""The most samples, over all channels, that one call decodes (64 MB): a header may promise more than the file has."""


class AudioError(EmofuseError):
    """A clip without usable audio; the message is the short reason for its exclusion."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The open audio file.

    Raises:
        AudioError: Anything that goes wrong with the file while it is open, a failing disk included.
    """
    _require_decoders()
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


@lru_cache(maxsize=1)  # finding a package that is not imported yet takes as long as opening a clip
def _require_decoders() -> None:
    require("soundfile", "av")


def open_sound(file: io.BufferedReader) -> soundfile.SoundFile | None:
    """libsndfile's view of an open file, or None where it does not know the format.

    It reads through the file descriptor, so that it sees no suffix to judge by.
    """
    import soundfile

    file.seek(0)
    try:
        return soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        return None


def is_counted(sound: soundfile.SoundFile) -> bool:
    """Whether `sound.frames` is the number of samples that decode: uncompressed formats."""
    return sound.format in _COUNTED_FORMATS and sound.subtype.startswith(_COUNTED_ENCODINGS)


def read_counted(sound: soundfile.SoundFile, samples: int) -> Channels:
    """The next `samples` [C, samples] of an uncompressed format; 16-bit ones scaled as libsndfile does, but faster."""
    pcm16 = sound.subtype == "PCM_16"
    read = sound.read(samples, dtype="int16" if pcm16 else "float32", always_2d=True).T
    channels: Channels = np.multiply(read, np.float32(2**-15), dtype=np.float32) if pcm16 else read
    return channels


def read_all(sound: soundfile.SoundFile, file: io.BufferedReader) -> Channels:
    """Everything [C, N] that decodes from a `sound` just opened from `file`.

    soundfile seeks after every read, which takes a third of the time of a FLAC file. Where the result is certainly the
    same, the file is read in one call: not a lossy stream, where every seek starts another decoding.
    """
    import soundfile

    if (is_counted(sound) or sound.format == "FLAC") and sound.frames * sound.channels <= _SINGLE_READ_SAMPLES:
        with contextlib.suppress(soundfile.LibsndfileError):
            whole = sound.read(dtype="float32", always_2d=True)
            if 0 < len(whole) == sound.frames:
                return np.ascontiguousarray(whole.T)
        reopened = open_sound(file)
        assert reopened is not None
        with reopened:
            return _read_blocks(reopened)
    return _read_blocks(sound)


def _read_blocks(sound: soundfile.SoundFile) -> Channels:
    """Everything that decodes, block by block: a truncated or damaged stream ends with its last good block."""
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


def decode_stream(file: io.BufferedReader) -> tuple[Channels, int]:
    """FFmpeg's decoding of the first audio stream of `file`: channels [C, N] and the sampling rate in Hz.

    Damaged packets are skipped.

    Raises:
        AudioError: No audio stream, or nothing of it decodes.
    """
    import av

    file.seek(0)
    data = file.read()  # from memory, without the file's name: FFmpeg would judge by the suffix
    blocks: list[Channels] = []
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                raise AudioError(what_it_is(data) or "has no audio stream")
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
        raise AudioError(what_it_is(data) or f"cannot be decoded: {reason}") from None
    if not blocks:
        raise AudioError(what_it_is(data) or "cannot be decoded: no packet of its audio stream is intact")
    return np.concatenate(blocks, axis=1), rate


def require_finite(channels: Channels) -> Channels:
    """`channels`, unchanged.

    Raises:
        AudioError: A sample is NaN or infinite.
    """
    if not np.isfinite(channels).all():
        raise AudioError("holds samples that are not numbers (NaN or infinite)")
    return channels

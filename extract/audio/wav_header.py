"""What the header of a WAV file declares, beside what the file holds."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass

from emofuse.common.disk.positioned import pread
from emofuse.extract.audio.decoding import AudioError

_UNKNOWN_SIZE = 0x7FFF0000
"""From this size on, a header means that the writing program (to a pipe) did not know the size."""
_PLACEHOLDER_FROM, _PLACEHOLDER_FACTOR = 1 << 28, 100
"""A smaller size is a placeholder too, if it is at least this large and round, or this many times what is there."""
_MOST_CHUNKS = 64
_NOTED_SECONDS = 0.1
"""A header that promises or leaves out no more than this is not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _WavData:
    """The samples of a WAV file, in bytes."""

    declared: int
    """As the header says."""
    available: int
    """From the first sample to the end of the file."""
    unread: int
    """Behind the declared samples, where what follows is not another part of a WAV file."""

    @property
    def missing(self) -> int:
        """Declared bytes beyond the end of the file; 0 where the header holds a placeholder."""
        return 0 if self._is_placeholder else max(0, self.declared - self.available)

    @property
    def _is_placeholder(self) -> bool:
        size = self.declared
        is_round = size % 1_000_000 == 0 or size % 0x10000 in (0, 0xFFFF)
        return size >= _UNKNOWN_SIZE or (
            size >= _PLACEHOLDER_FROM and (is_round or size > _PLACEHOLDER_FACTOR * self.available)
        )


def unmatched_seconds(file: io.BufferedReader, seconds: float) -> tuple[float, float]:
    """Seconds that a WAV header promises beyond the end of the file, and seconds behind those that it declares.

    Args:
        file: The open file, in any format.
        seconds: What is decoded of it.

    Raises:
        AudioError: The header declares nothing, and samples follow.
    """
    data = _wav_data(file)
    if data is None:
        return 0.0, 0.0
    if data.declared == 0 and data.unread:
        raise AudioError(
            f"holds no samples: its header declares 0 bytes of them, and {data.unread} bytes follow; write the "
            "header again, such as with `ffmpeg -i IN.wav -c copy OUT.wav`"
        )
    decoded = min(data.declared, data.available)
    lost, unread = (seconds * count / decoded if decoded else 0.0 for count in (data.missing, data.unread))
    return (lost if lost > _NOTED_SECONDS else 0.0), (unread if unread > _NOTED_SECONDS else 0.0)


def _wav_data(file: io.BufferedReader) -> _WavData | None:
    """The samples that a WAV file declares and holds; None for another format."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    if pread(descriptor, 4, 0) != b"RIFF" or pread(descriptor, 4, 8) != b"WAVE":
        return None
    position = 12
    for _ in range(_MOST_CHUNKS):
        head = pread(descriptor, 8, position)
        if len(head) < 8:
            return None
        name, length = struct.unpack("<4sI", head)
        position += 8
        if name == b"data":
            end = position + length + length % 2
            unread = 0 if _is_chunk(descriptor, end, size) else size - end
            return _WavData(declared=length, available=size - position, unread=max(0, unread))
        position += length + length % 2
    return None


def _is_chunk(descriptor: int, position: int, size: int) -> bool:
    """Whether a chunk that fits in the file begins at `position`."""
    head = pread(descriptor, 8, position)
    if len(head) < 8:
        return False
    name, length = struct.unpack("<4sI", head)
    return bool(name.isascii() and name.decode("ascii").isprintable()) and position + 8 + length <= size

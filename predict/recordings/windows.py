"""Cuts long recordings into windows, each of which is predicted by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import xxhash

from emofuse.extract.audio.clips import Clip
from emofuse.manifests.schema import Utterance

SEGMENT_SECONDS = 30.0
"""Without a window, a longer clip is cut into segments of this length."""
SHORTEST_SECONDS = 1.0
"""A last window shorter than this (or than half a window) is left out: nothing can be said of it by itself."""
_ROUNDED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A piece of a clip, or the whole clip."""

    utterance: Utterance
    """What is encoded: for a piece with an id, a start and an end of its own."""
    clip: Clip | None
    """Its scanned audio; None for a text alone."""
    of: Utterance
    """The clip."""
    start: float | None
    """Seconds in the file; None for a text alone."""
    end: float | None
    count: int
    """How many windows the clip has; 1 means the whole clip."""
    last: bool = True
    """Whether it is the clip's last one."""


def cut(utterance: Utterance, clip: Clip | None, window: float | None, hop: float | None) -> Iterator[Window]:
    """The windows of a scanned clip; one for the whole clip if it needs none.

    Windows start every `hop` seconds, up to the first one that reaches the end of the clip. A clip with words of its
    own is not cut unless `window` is given: its words belong to the whole of it.
    """
    if clip is None:
        yield Window(utterance=utterance, clip=None, of=utterance, start=None, end=None, count=1)
        return
    first, length = utterance.start or 0.0, clip.seconds
    if window is None:
        window = SEGMENT_SECONDS if utterance.text is None else length
    spans = list(_spans(length, window, hop or window))
    if len(spans) == 1:
        yield Window(
            utterance=utterance, clip=clip, of=utterance, start=first, end=round(first + length, _ROUNDED), count=1
        )
        return
    for number, (begin, end) in enumerate(spans, 1):
        begin, end = round(first + begin, _ROUNDED), round(first + end, _ROUNDED)
        part = _part(clip, begin, end)
        name = f"{utterance.id} [window {number}]"
        piece = replace(utterance, id=name, start=begin, end=end, seconds=part.seconds, audio_digest=part.digest)
        yield Window(
            utterance=piece, clip=part, of=utterance, start=begin, end=end, count=len(spans), last=number == len(spans)
        )


def _part(clip: Clip, start: float, end: float) -> Clip:
    """The scan of a part of a recording: as many samples as are cut from `start` to `end` (seconds in the file)."""
    digest = xxhash.xxh3_128_hexdigest(f"{clip.digest} {start} {end}".encode())
    return replace(clip, samples=round(end * clip.sample_rate) - round(start * clip.sample_rate), digest=digest)


def _spans(length: float, window: float, hop: float) -> Iterator[tuple[float, float]]:
    number, shortest = 0, min(SHORTEST_SECONDS, window / 2)
    while number == 0 or length - number * hop >= shortest:
        begin = number * hop
        yield begin, min(begin + window, length)
        if begin + window >= length:
            return
        number += 1

"""Short recordings as `data:` URLs, so that a page plays them without any other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from emofuse.common.console import format_size
from emofuse.extract.audio.clips import load
from emofuse.extract.audio.decoding import AudioError
from emofuse.manifests.schema import Utterance

LONGEST = 15.0
"""Seconds of the longest clip that is embedded."""
LIMIT = 2_000_000
"""Characters that all clips of a page may take."""
SAMPLE_RATE = 16_000
"""Hz of the embedded clips; speech needs no more."""


class Embedding:
    """Clips for one page, in the order in which they are asked for, until the limit is reached."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._left = self._limit = limit
        self._clips: dict[tuple[Path, float | None, float | None], str | None] = {}

    def clip(self, path: Path, utterance: Utterance) -> str | None:
        """The part of a recording that an utterance is, as MP3; None if it is too long, or too much by now."""
        key = (path, utterance.start, utterance.end)
        if key not in self._clips:
            self._clips[key] = self._fitting(self._encode(path, utterance))
        return self._clips[key]

    @property
    def remarks(self) -> list[str]:
        """How many clips the page only links to."""
        linked = sum(url is None for url in self._clips.values())
        if not linked:
            return []
        return [
            f"{linked} {'clip is a link' if linked == 1 else 'clips are links'}, not embedded: longer than "
            f"{LONGEST:g} s, not readable, or beyond {format_size(self._limit)} in all"
        ]

    def _fitting(self, url: str | None) -> str | None:
        """The clip, if there is room for it; after the first one without, none is encoded any more."""
        if url is None:
            return None
        self._left -= len(url)
        return url if self._left >= 0 else None

    def _encode(self, path: Path, utterance: Utterance) -> str | None:
        import soundfile

        if self._left <= 0 or (utterance.seconds or 0) > LONGEST:
            return None
        try:
            waveform = load(path, SAMPLE_RATE, utterance.start, utterance.end)
        except AudioError:
            return None
        if len(waveform) > LONGEST * SAMPLE_RATE:
            return None
        buffer = io.BytesIO()
        soundfile.write(buffer, waveform, SAMPLE_RATE, format="MP3")
        return "data:audio/mpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

"""Short recordings as `data:` URLs, so that a page plays them without any other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.output.console import format_size
from emofuse.extract.audio.clips import load
from emofuse.extract.audio.decoding import AudioError
from emofuse.manifests.schema import Utterance

LONGEST = 15.0
"""Seconds of the longest clip that is embedded."""
LIMIT = 1_500_000
"""Characters that the clips of all players of a page may take."""
SAMPLE_RATE = 16_000
"""Hz of the embedded clips; speech needs no more."""


class Embedding:
    """Clips for one page, in the order in which they are asked for, until the limit is reached."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._left = self._limit = limit
        self._clips: dict[tuple[Path, float | None, float | None], str | None] = {}
        self._linked: set[tuple[Path, float | None, float | None]] = set()

    def clip(self, path: Path, utterance: Utterance) -> str | None:
        """The part of a recording that an utterance is, as MP3, for one player on the page.

        None if it is too long, not readable, or if there is no room any more.
        """
        key = (path, utterance.start, utterance.end)
        if key not in self._clips:
            # Nearly full: what is left has room for no speech, so nothing more is encoded.
            self._clips[key] = self._encode(path, utterance) if self._left > self._limit // 100 else None
        url = self._clips[key]
        if url is not None and len(url) <= self._left:
            self._left -= len(url)
            return url
        self._linked.add(key)
        return None

    @property
    def remarks(self) -> list[str]:
        """How many clips the page only links to."""
        if not self._linked:
            return []
        verb = "clip is a link" if len(self._linked) == 1 else "clips are links"
        return [
            f"{len(self._linked)} {verb}, not embedded: longer than {LONGEST:g} s, not readable, or beyond "
            f"{format_size(self._limit)} in all"
        ]

    def _encode(self, path: Path, utterance: Utterance) -> str | None:
        import soundfile

        if (utterance.seconds or 0) > LONGEST:
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


def refuse_embedding_without_decoders() -> None:
    """Refuse to embed recordings where what decodes them is not installed.

    Raises:
        UsageError: Names the extra.
    """
    try:
        import av  # noqa: F401
        import soundfile  # noqa: F401
    except ImportError:
        raise UsageError("--embed-audio needs soundfile and av: pip install 'emofuse[extract]'") from None

"""Scans clips, a few at a time, and cuts them into windows that can be read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

from emofuse.common.output.console import warn
from emofuse.extract.asr.transcribe import without_blank_texts
from emofuse.extract.audio.clips import AudioError, decode_to_wav
from emofuse.extract.audio.scan import scan_audio, scan_text
from emofuse.extract.audio.scan_report import silence_notes
from emofuse.manifests.schema import Utterance
from emofuse.predict.config import PredictConfig
from emofuse.predict.recordings.inputs import ROOT, manifest_of
from emofuse.predict.recordings.windows import Window, cut

SCANNED = 32
"""Clips that are scanned together."""
T = TypeVar("T")


class WindowReader:
    """The windows of clips, in order; no more clips are scanned than are asked for.

    Args:
        config: The window and the hop, and whether clips without words are transcribed.
        folder: A temporary folder.
        on_excluded: Called with the id of a clip that cannot be used at all, and the reason.
    """

    def __init__(self, config: PredictConfig, folder: Path, on_excluded: Callable[[str, str], None]) -> None:
        self._config, self._folder, self._on_excluded = config, folder, on_excluded
        self.reasons: dict[str, list[str]] = {}
        """Id of a clip that was not released -> why it lacks a modality."""
        self._copies: dict[str, Path | None] = {}
        """Id of a long clip that was not released -> its decoded copy, or None where it needs none."""
        self._numbers = count(1)

    def windows(self, utterances: Sequence[Utterance]) -> Iterator[Window]:
        """The windows of all clips that have something to encode, scanned."""
        for some in chunks(utterances, SCANNED):
            manifest = manifest_of(some)
            if self._config.transcribe is not None:
                manifest = without_blank_texts(manifest)
            manifest, empty = scan_text(manifest)
            scan = scan_audio(manifest, ROOT, quiet=True)
            for item in (*empty, *scan.unusable):
                self.reasons.setdefault(item.id, []).append(item.reason)
            for note in silence_notes({id: clip for id, clip in scan.clips.items() if clip.is_silent}):
                warn(f"note: {note}")
            usable = set(scan.manifest.ids)
            for id in (u.id for u in some if u.id not in usable):
                self._on_excluded(id, "; ".join(self.reasons.pop(id)))
            for utterance in scan.manifest.utterances:
                for window in cut(utterance, scan.clips.get(utterance.id), self._config.window, self._config.hop):
                    yield self._seekable(window)

    def _seekable(self, window: Window) -> Window:
        """The window in a decoded copy of its recording, where that would be decoded from its start for each window."""
        audio, id = window.utterance.audio, window.of.id
        if window.count == 1 or audio is None:
            return window
        if id not in self._copies:
            self._copies[id] = self._copy(ROOT / audio)
        copy = self._copies[id]
        if copy is None:
            return window
        return replace(window, utterance=replace(window.utterance, audio=copy.relative_to(ROOT).as_posix()))

    def _copy(self, audio: Path) -> Path | None:
        copy = self._folder / f"recording-{next(self._numbers)}.wav"
        try:
            return copy if decode_to_wav(audio, copy) else None
        except AudioError:  # it has changed since it was scanned: reading the windows reports it
            return None

    def release(self, clip: Utterance) -> None:
        """Forget a clip whose windows are all done."""
        self.reasons.pop(clip.id, None)
        copy = self._copies.pop(clip.id, None)
        if copy is not None:
            copy.unlink(missing_ok=True)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter; only one list is read at a time."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk

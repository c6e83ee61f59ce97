"""Clips of MELD that were cut wrongly: much longer or shorter than their row says, or than their words take."""

from __future__ import annotations

import re

from emofuse.common.output.console import plural
from emofuse.manifests.schema import Manifest, Utterance

_FACTOR, _SECONDS = 2.0, 2.0
"""A clip differs from its row by more than both."""
_MOST_WORDS_PER_SECOND = 8.0
_PAUSE, _SECONDS_PER_WORD = 10.0, 3.0
"""A clip is too long for its words if it lasts more than a pause and this long for each."""
_MOST_LISTED = 10
_TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)")


def cut_notes(manifest: Manifest) -> list[str]:
    """One note with the clips whose length contradicts their row or their words."""
    wrong = [(u.id, why) for u in manifest.utterances if (why := _contradiction(u))]
    if not wrong:
        return []
    listed = ", ".join(f"{id} ({why})" for id, why in wrong[:_MOST_LISTED])
    more = f" and {len(wrong) - _MOST_LISTED} more" if len(wrong) > _MOST_LISTED else ""
    remedy = "--max-seconds N excludes longer clips"
    return [f"{plural(len(wrong), 'clip')} probably cut wrongly: {listed}{more}; {remedy}"]


def _contradiction(utterance: Utterance) -> str | None:
    """How the length of a scanned clip contradicts its annotation."""
    seconds, words = utterance.seconds, len((utterance.text or "").split())
    if seconds is None:
        return None
    row = row_seconds(utterance)
    if row is not None and abs(seconds - row) > _SECONDS and not 1 / _FACTOR <= seconds / max(row, 1e-9) <= _FACTOR:
        return f"{seconds:.1f} s, its row {row:.1f} s"
    if words and (seconds > _PAUSE + _SECONDS_PER_WORD * words or words > _MOST_WORDS_PER_SECOND * seconds + 1):
        return f"{seconds:.1f} s, {plural(words, 'word')}"
    return None


def row_seconds(utterance: Utterance) -> float | None:
    """The length that the row of an utterance declares; None where its times cannot be read."""
    start, end = (_seconds(str(utterance.extra.get(key, ""))) for key in ("start_time", "end_time"))
    return None if start is None or end is None else end - start


def _seconds(time: str) -> float | None:
    match = _TIME.fullmatch(time.strip())
    if match is None:
        return None
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")

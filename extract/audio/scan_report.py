"""What a scan of a corpus's audio found that its user should know, once for the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emofuse.common.output.console import plural, warn
from emofuse.datasets.registry import CORPORA
from emofuse.extract.audio.channels import CHANNELS, MIXES, Channel
from emofuse.extract.audio.clips import Clip
from emofuse.manifests.schema import Manifest

_MOST_LISTED = 10


def report_scan(manifest: Manifest, clips: Mapping[str, Clip], channel: Channel = "mean") -> None:
    """Print on stderr which clips are silent, and what the corpus's reader finds wrong with their lengths."""
    find = CORPORA[manifest.corpus].scan_notes if manifest.corpus in CORPORA else None
    for note in [*silence_notes(clips, channel), *(find(manifest) if find else ())]:
        warn(f"note: {note}")


def silence_notes(clips: Mapping[str, Clip], channel: Channel = "mean") -> list[str]:
    """The clips in which no sound is left."""
    without_sound = [id for id, clip in clips.items() if clip.is_silent]
    others = [id for id, clip in clips.items() if channel in clip.silent and not clip.is_silent]
    way = "the channels cancel each other" if channel == "mean" else f"{MIXES[channel]} has no sound"
    choices = ", ".join(c for c in CHANNELS if c != channel)
    return [
        *_note(without_sound, "without any sound"),
        *_note(others, f"encoded as silence, since {way} (other choices: --channel {choices})"),
    ]


def _note(ids: Sequence[str], what: str) -> list[str]:
    if not ids:
        return []
    more = f" and {len(ids) - _MOST_LISTED} more" if len(ids) > _MOST_LISTED else ""
    listed = f"{', '.join(ids[:_MOST_LISTED])}{more}"
    return [f"{plural(len(ids), 'clip')} {what}: {listed}"]

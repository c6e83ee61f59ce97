"""The speakers that a fit needs to know: to draw each equally often, or to standardise each by clips of his own."""

from __future__ import annotations

from collections.abc import Iterable

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural
from emofuse.manifests.schema import Utterance
from emofuse.train.models.config import Config

BY_SPEAKER = "speaker_standardised"
"""In the identity of a run and in its metrics: the modalities that are standardised by speaker."""


def check_speakers(settings: Config, training: Iterable[Utterance]) -> None:
    """Refuse to balance speakers that are unknown.

    Raises:
        UsageError: Names utterances of the training side without a speaker.
    """
    if settings.balance != "speaker":
        return
    unknown = [u.id for u in training if u.speaker is None]
    if unknown:
        raise UsageError(
            f"--set balance=speaker: the speaker of {plural(len(unknown), 'training utterance')} is unknown, "
            f"{', '.join(unknown[:5])} first: add speakers to the manifest, or choose balance=class"
        )


def speaker_clips(clips: Iterable[Utterance], used: Iterable[Utterance]) -> dict[str, tuple[str, ...]]:
    """Speaker -> the ids of all clips.

    Args:
        clips: All clips of a store.
        used: Those that a fit or an evaluation uses.

    Raises:
        UsageError: Names used ones without a speaker.
    """
    unknown = [u.id for u in used if u.speaker is None]
    if unknown:
        raise UsageError(
            f"--standardise speaker: the speaker of {plural(len(unknown), 'utterance')} is unknown, "
            f"{', '.join(unknown[:5])} first: add speakers to the manifest, or leave the option out"
        )
    found: dict[str, list[str]] = {}
    for clip in clips:
        if clip.speaker is not None:
            found.setdefault(clip.speaker, []).append(clip.id)
    return {speaker: tuple(ids) for speaker, ids in found.items()}

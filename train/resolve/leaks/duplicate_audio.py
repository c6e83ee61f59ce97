"""The same recording on the test side and in training or validation, under two ids, speakers, dialogues or corpora.

Recordings are equal where their `audio_digest` is: it covers the bytes of the file and the cut (start and end), so two
cuts of one file differ, and so do two encodings of the same samples (`near_duplicates` finds those).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.schema import Utterance

SHOWN = 5
"""How many pairs a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedClip:
    """A test utterance whose recording is also on another side of its fold."""

    fold: int
    test: str
    """Id of the test utterance."""
    other: str
    """Id of the first utterance with the same recording on the other side."""
    side: str
    """`train` or `validation`."""


def shared_clips(folds: Iterable[Fold]) -> list[SharedClip]:
    """The test utterances of folds whose recording is also on the training or validation side."""
    found = []
    for fold in folds:
        others: dict[str, tuple[str, str]] = {}
        for side in ("validation", "train"):  # training wins where both sides have the recording
            others |= {u.audio_digest: (u.id, side) for u in reversed(fold.sides[side]) if u.audio_digest}
        for utterance in fold.test:
            if utterance.audio_digest in others:
                other, side = others[utterance.audio_digest]
                found.append(SharedClip(fold=fold.number, test=utterance.id, other=other, side=side))
    return found


def check_duplicate_audio(
    folds: Sequence[Fold], utterances: Sequence[Utterance], *, allowed: bool
) -> tuple[tuple[SharedClip, ...], list[str]]:
    """Refuse folds whose test side shares recordings with training or validation.

    Args:
        folds: The folds that are trained.
        utterances: Those of the task.
        allowed: Accept them (`--allow-duplicates`).

    Returns:
        The shared recordings that were accepted, and remarks.

    Raises:
        UsageError: Lists the first pairs, how many there are, the folds, and what to do.
    """
    shared = shared_clips(folds)
    # Two utterances may be the test and the training side of one another, in two folds.
    pairs = dict.fromkeys(" = ".join(sorted((clip.test, clip.other))) for clip in shared)
    if not allowed and shared:
        numbers = sorted({clip.fold for clip in shared})
        raise UsageError(
            f"the same audio is on the test side and in training or validation, {plural(len(pairs), 'pair')} of "
            f"utterances in fold {', '.join(map(str, numbers))}: {_listed(pairs)}\nLeave one utterance of each pair "
            "out of the corpus, or leave those folds out (--folds), or continue with scores that are marked in every "
            "output: --allow-duplicates"
        )
    remarks = [f"the same audio is tested and trained on (--allow-duplicates): {_listed(pairs)}"] if shared else []
    if allowed and not shared:
        remarks.append("--allow-duplicates has no effect: no test utterance shares its audio with another side")
    known = {id for clip in shared for id in (clip.test, clip.other)}
    return tuple(shared), [*remarks, *_repeated_inside(utterances, known)]


def _repeated_inside(utterances: Sequence[Utterance], known: set[str]) -> list[str]:
    """A remark on recordings that occur more than once and that no requested fold divides between its sides."""
    by_digest: dict[str, list[str]] = {}
    for utterance in utterances:
        if utterance.audio_digest and utterance.id not in known:
            by_digest.setdefault(utterance.audio_digest, []).append(utterance.id)
    repeated = [" = ".join(ids) for ids in by_digest.values() if len(ids) > 1]
    return [f"recordings that occur more than once, on one side of each fold: {_listed(repeated)}"] if repeated else []


def _listed(items: Collection[str]) -> str:
    return ", ".join(list(items)[:SHOWN]) + (f", ... ({len(items)})" if len(items) > SHOWN else "")

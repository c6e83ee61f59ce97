"""All checks of what the test sides share with training, for one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emofuse.common.problems import Problems
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.train.resolve.features.joined_store import AnyFeature, AnyStore
from emofuse.train.resolve.leaks.class_coverage import ClassGaps, class_gaps, gap_remarks
from emofuse.train.resolve.leaks.duplicate_audio import SharedClip, check_duplicate_audio
from emofuse.train.resolve.leaks.leakage import check_leakage
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate
from emofuse.train.resolve.leaks.repeated_texts import RepeatedTexts, repeated_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMaterial:
    """What the test sides of a plan's folds share with training, and the classes that are missing on a side."""

    clips: tuple[SharedClip, ...] = ()
    """The same audio on two sides, accepted by `--allow-duplicates`."""
    near_duplicates: tuple[NearDuplicate, ...] = ()
    """Audio of two sides that is nearly the same; found when a run starts."""
    unsearched: str = ""
    """Why they were not looked for; empty if they were."""
    texts: Mapping[int, RepeatedTexts] = field(default_factory=dict)
    """Number of a fold -> which of its test texts are also on its training side."""
    class_gaps: tuple[ClassGaps, ...] = ()
    """The folds where a class is missing on their training or test side."""

    @property
    def text_of(self) -> dict[str, bool]:
        """Id of each test utterance that has a text -> whether that text is also on the training side."""
        return {id: repeated for texts in self.texts.values() for id, repeated in texts.items()}


def check_test_sides(
    store: AnyStore,
    features: Mapping[str, AnyFeature],
    protocol: Protocol,
    folds: Sequence[Fold],
    utterances: Sequence[Utterance],
    *,
    allow_duplicates: bool,
) -> tuple[SharedMaterial, list[str]]:
    """Refuse folds that test what was trained on; gives what is shared and allowed, and remarks.

    Args:
        store: The store, or the joined stores.
        features: By modality.
        protocol: The task.
        folds: The folds that are trained.
        utterances: Those of the task.
        allow_duplicates: Accept the same audio on two sides.

    Raises:
        UsageError: An encoder was trained on test labels, or the same audio is on two sides; lists all of it.
    """
    problems, remarks, clips = Problems(), list[str](), tuple[SharedClip, ...]()
    with problems.collecting():
        remarks += check_leakage(store, features, protocol, folds)
    with problems.collecting():
        clips, about_clips = check_duplicate_audio(folds, utterances, allowed=allow_duplicates)
        remarks += about_clips
    problems.raise_all()
    gaps = class_gaps(protocol, folds)
    shared = SharedMaterial(clips=clips, texts=repeated_texts(folds), class_gaps=gaps)
    return shared, [*remarks, *gap_remarks(gaps, len(protocol.classes))]

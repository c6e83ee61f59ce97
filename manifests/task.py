"""What a task is: the record that a protocol file gives, and what it says of an utterance."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emofuse.common.errors import UsageError
from emofuse.manifests.joint import corpus_of
from emofuse.manifests.schema import Utterance

METRICS = {
    "wa": "WA, accuracy over all utterances",
    "ua": "UA, mean of the per-class recalls",
    "wf1": "W-F1, F1 per class weighted by its number of utterances",
    "macro_f1": "macro F1, unweighted mean of F1 per class",
    "micro_f1": "micro F1, equal to accuracy where each utterance has one label",
}
HELD_OUT = ("session", "speaker", "dialogue", "sentence")
"""What can be kept apart between train, validation and test."""
GROUPINGS = (*HELD_OUT, "split")
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Counts that the corpus must give."""

    total: int
    classes: Mapping[str, int]
    folds: Mapping[str, int]
    """Utterances of each fold's test side (or of each split; of train, validation and test on another corpus)."""
    without_audio: tuple[str, ...] = ()
    """Utterances that are known to have no usable audio in the release."""
    corpora: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Corpus -> class -> utterances, where a protocol joins several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What only a protocol over several corpora says; names carry their corpus: `iemocap:1`."""

    by: Mapping[str, str]
    """Training corpus -> what is held out of it together: session, speaker or dialogue."""
    disjoint: Mapping[str, tuple[str, ...]]
    """Corpus -> what train, validation and test may not share of it."""
    test_corpus: str | None = None
    """The corpus that is tested on, and on no other; none: the folds test the training corpora."""
    test_split: str | None = None
    """Its official split that is tested; none: all of it."""
    validation: tuple[str, ...] = ()
    """What is held out of the training corpora to select the checkpoint, where another corpus is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One task on one corpus, or on several joined ones."""

    name: str
    corpus: str
    """The corpus; of several, those that are trained on, joined by `+`."""
    source: str
    classes: tuple[str, ...]
    """The classes, in the order of the logits."""
    labels: Mapping[str, str]
    """The corpus's own label -> class; a label that is not named is not part of the task."""
    label_field: str
    """`label`, or a key of `Utterance.extra` such as `sentiment`."""
    fold_by: str
    """What a fold holds out: session, speaker, dialogue or sentence; `split` takes the corpus's train, dev and test; of
    several corpora a `group`."""
    fold_groups: tuple[tuple[str, ...], ...]
    """Values that are held out together; empty: each value alone."""
    disjoint: tuple[str, ...]
    """What train, validation and test may not share."""
    metrics: tuple[str, ...]
    """Shown in this order; the first one selects the checkpoint on validation."""
    expected: Expected | None
    joint: Joint | None = None
    fold_parts: int = 0
    """The values are dealt out, by a hash, into so many groups; 0: each is a group, or as `fold_groups` says."""

    @property
    def corpora(self) -> tuple[str, ...]:
        """The corpora that are trained on."""
        return tuple(self.joint.by) if self.joint else (self.corpus,)

    @property
    def test_corpus(self) -> str | None:
        """The other corpus that is tested on, if there is one."""
        return self.joint.test_corpus if self.joint else None

    @property
    def grouping(self) -> str:
        """What forms the folds, in words."""
        if self.joint is None:
            return f"{self.fold_by}, in {self.fold_parts} parts" if self.fold_parts else self.fold_by
        return " and ".join(f"{by} of {corpus}" for corpus, by in self.joint.by.items())

    @property
    def validated_on(self) -> str:
        """What selects the checkpoint, in words."""
        if self.test_corpus:
            assert self.joint is not None
            return ", ".join(self.joint.validation)
        if self.fold_by == "split":
            return "the official dev split"
        return f"the next {f'part of {self.fold_by}s' if self.fold_parts else self.fold_by} in turn"

    def class_of(self, utterance: Utterance) -> str | None:
        """The utterance's class in this task, or none where it is not part of it."""
        own = utterance.label if self.label_field == "label" else utterance.extra.get(self.label_field)
        if self.joint and self.joint.test_split and self.only_tests(utterance):
            own = own if utterance.split == self.joint.test_split else None
        return self.labels.get(str(own)) if own is not None else None

    def only_tests(self, utterance: Utterance) -> bool:
        """Whether an utterance is of a corpus that is never trained on."""
        return self.test_corpus is not None and corpus_of(utterance.id) == self.test_corpus

    def fold_value(self, utterance: Utterance) -> str | None:
        """What decides an utterance's group: its session, speaker, dialogue, sentence or split."""
        by = self.joint.by.get(corpus_of(utterance.id)) if self.joint else self.fold_by
        value: str | None = getattr(utterance, by) if by else None
        return value

    def group_of(self, utterance: Utterance) -> str:
        """The fold (or split, or side) that this utterance belongs to.

        Raises:
            UsageError: The utterance lacks what forms the folds.
        """
        if self.only_tests(utterance):
            return "test"
        value = self.fold_value(utterance)
        if value is None:
            raise UsageError(
                f"{utterance.id} has no {self.fold_by}, but protocol {self.name} forms its folds by {self.grouping}"
            )
        if self.joint and self.joint.test_corpus:
            return "validation" if value in self.joint.validation else "train"
        if self.fold_parts:
            return str(1 + int(hashlib.sha256(value.encode()).hexdigest(), 16) % self.fold_parts)
        for group in self.fold_groups:
            if value in group:
                return "+".join(group)
        if self.fold_groups:
            raise UsageError(f"{utterance.id}: {self.fold_by} {value!r} is in none of protocol {self.name}'s groups")
        return value

    def counts(self, utterances: Sequence[Utterance]) -> list[tuple[str, Mapping[str, int], Mapping[str, int]]]:
        """What the protocol counts among utterances of the task: the kind, what was found, what is expected."""
        if self.expected is None:
            return []
        counted: list[tuple[str, Mapping[str, int], Mapping[str, int]]] = [
            ("utterances", {"all": len(utterances)}, {"all": self.expected.total})
        ]
        for corpus, classes in self.expected.corpora.items():
            found = Counter(str(self.class_of(u)) for u in utterances if corpus_of(u.id) == corpus)
            counted.append((f"{corpus} class", found, classes))
        if not self.expected.corpora:
            counted.append(("class", Counter(str(self.class_of(u)) for u in utterances), self.expected.classes))
        counted.append((self.fold_by, Counter(self.group_of(u) for u in utterances), self.expected.folds))
        return [one for one in counted if one[2]]

    def differences(self, utterances: Sequence[Utterance], available: set[str] | None = None) -> list[str]:
        """How the counts of the task differ from the expected ones, each line with both numbers.

        Args:
            utterances: The utterances of the task (those with a class).
            available: Ids that have every feature in use; None: all. Known gaps of the release are not differences.
        """
        return [
            f"{kind} {key}: found {have.get(key, 0)}, expected {want.get(key, 0)}"
            for kind, have, want in self.counts(self._counted(utterances, available))
            for key in sorted({*have, *want})
            if have.get(key, 0) != want.get(key, 0)
        ]

    def off(self, utterances: Sequence[Utterance], available: set[str] | None = None) -> int:
        """The largest difference of any count from the expected one: the total, a class, a fold. As `differences`."""
        counted = self.counts(self._counted(utterances, available))
        return max(
            (abs(have.get(k, 0) - want.get(k, 0)) for _, have, want in counted for k in {*have, *want}), default=0
        )

    def _counted(self, utterances: Sequence[Utterance], available: set[str] | None) -> list[Utterance]:
        gaps = set(self.expected.without_audio) if self.expected else set()
        return [u for u in utterances if available is None or u.id in available or u.id in gaps]

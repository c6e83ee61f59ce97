"""A task: the record of a protocol file, and the class and the group that it gives an utterance."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.manifests.fold_file import FoldFile
from emofuse.manifests.names.joint import corpus_of
from emofuse.manifests.names.spellings import NameRules
from emofuse.manifests.row_filter import Where, selects
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.target import Target, Truth
from emofuse.manifests.targets.truth import classes_in, has_truth, most_voted, truth_array

HOLD_OUT_KEYS = ("session", "speaker", "dialogue", "sentence")
"""The attributes of an utterance that train, validation and test may be kept disjoint by."""
GROUPINGS = (*HOLD_OUT_KEYS, "split")
"""The attributes that folds may be formed by."""
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCounts:
    """The counts that the corpus must have."""

    total: int
    classes: Mapping[str, int]
    folds: Mapping[str, int]
    """Utterances tested by each fold, or in each split, or, with a test corpus, in train, validation and test."""
    without_audio: tuple[str, ...] = ()
    """Ids known to have no usable audio in the release."""
    corpora: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Corpus -> class -> utterances, of a protocol over several corpora."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointCorpora:
    """The settings of a protocol over several corpora; names carry their corpus: `iemocap:1`."""

    by: Mapping[str, str]
    """Training corpus -> what its folds hold out: session, speaker or dialogue."""
    disjoint: Mapping[str, tuple[str, ...]]
    """Corpus -> the attributes by which train, validation and test must be disjoint."""
    test_corpus: str | None = None
    """The corpus that alone is tested; None means that the folds test the training corpora."""
    test_split: str | None = None
    """The official split of it that is tested; None means all of it."""
    validation: tuple[str, ...] = ()
    """The groups of the training corpora that select the checkpoint, where another corpus is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One task on one corpus or on several joined corpora."""

    name: str
    corpus: str
    """The corpus, or the training corpora joined by `+`."""
    source: str
    """The paper of the task. Part of a run's identity like every field: changing it changes the default run folder."""
    classes: tuple[str, ...]
    """The classes, in the order of the logits."""
    labels: Mapping[str, str]
    """The corpus's own label -> class; other labels are not part of the task."""
    label_field: str
    """Where the label is: `label`, or a key of `Utterance.extra` such as `sentiment`."""
    fold_by: str
    """What a fold holds out: session, speaker, dialogue or sentence; `split` means the official train, dev and test,
    `file` the folds of a file, and `group` is for several corpora."""
    fold_groups: tuple[tuple[str, ...], ...]
    """Values of `fold_by` that are held out together; empty means each value alone."""
    disjoint: tuple[str, ...]
    """The attributes by which train, validation and test must be disjoint."""
    metrics: tuple[str, ...]
    """In the order of tables; the first one selects the checkpoint on validation."""
    expected: ExpectedCounts | None
    joint: JointCorpora | None = None
    """Only of a protocol over several corpora."""
    fold_parts: int = 0
    """The number of groups that a hash distributes the values over; 0 means groups by `fold_groups` or by value."""
    names: Mapping[str, NameRules] = field(default_factory=dict)
    """Attribute (speaker, session, dialogue) -> which of its names are spellings of one name, and which are not."""
    where: Where = field(default_factory=dict)
    """Only utterances with these values belong to the task; of several corpora each key carries its corpus."""
    fold_source: str = ""
    """The path of the file with the folds, as `[folds] file` gives it; `fold_by` is then `file`."""
    fold_file: FoldFile | None = None
    """The folds of that file; None where it was not read, as in the protocol that a run records."""
    absent: int = 0
    """How many names of the file the corpus is known not to have."""
    unassigned: int = 0
    """How many utterances of the task the file is known not to have; they are left out."""
    declared_target: Target | None = None
    """What is predicted, where that is not one class."""

    @property
    def target(self) -> Target:
        """What is predicted for an utterance."""
        return self.declared_target or Target(classes=self.classes)

    @property
    def corpora(self) -> tuple[str, ...]:
        """The training corpora."""
        return tuple(self.joint.by) if self.joint else (self.corpus,)

    @property
    def test_corpus(self) -> str | None:
        """The corpus that is tested but not trained on, if any."""
        return self.joint.test_corpus if self.joint else None

    @property
    def grouping(self) -> str:
        """What forms the folds, as text (also the `by` of fine-tuned checkpoints)."""
        if self.fold_file:
            return f"the file {self.fold_file.name} ({self.fold_file.digest})"
        if self.joint is None:
            return f"{self.fold_by}, in {self.fold_parts} parts" if self.fold_parts else self.fold_by
        return " and ".join(f"{by} of {corpus}" for corpus, by in self.joint.by.items())

    @property
    def validated_on(self) -> str:
        """What selects the checkpoint, as text."""
        if self.test_corpus:
            assert self.joint is not None
            return ", ".join(self.joint.validation)
        if self.fold_by == "split":
            return "the official dev split"
        if self.fold_file:
            return self._validated_by_file(self.fold_file)
        return f"the next {f'part of {self.fold_by}s' if self.fold_parts else self.fold_by} in turn"

    def _validated_by_file(self, source: FoldFile) -> str:
        if all(fold.validation for fold in source.folds):
            return f"the validation side of {source.name}"
        return "what the next fold tests" if len(source.folds) > 1 else "a fifth of the training side"

    def has(self, utterance: Utterance) -> bool:
        """Whether an utterance is part of the task."""
        in_folds = self.fold_file is None or self.fold_file.group_of(utterance.id) is not None
        return in_folds and self.labelled(utterance)

    def labelled(self, utterance: Utterance) -> bool:
        """Whether an utterance is part of the task whether or not the file of the folds has it."""
        return self.selects(utterance) and has_truth(self.target, self.labels, self.own_label(utterance), utterance)

    def selects(self, utterance: Utterance) -> bool:
        """Whether the filters of the task select an utterance."""
        return not self.where or selects(self.where, utterance, self.names)

    def class_of(self, utterance: Utterance) -> str | None:
        """The utterance's class; None where it is not part of the task, or the task has not one class an utterance."""
        if not self.target.has_class or not self.has(utterance):
            return None
        if self.target.kind == "distribution":
            return most_voted(self.target, self.labels, utterance)
        label = self.own_label(utterance)
        return self.labels.get(label) if label is not None else None

    def classes_of(self, utterance: Utterance) -> tuple[str, ...]:
        """The utterance's classes, several where the target has several; none where it has none."""
        if self.target.kind == "multilabel":
            return classes_in(self.own_label(utterance), self.target, self.labels)
        found = self.class_of(utterance)
        return () if found is None else (found,)

    def truth(self, utterances: Sequence[Utterance]) -> Truth:
        """The true values of utterances of the task, as `Truth` says."""
        return truth_array(self.target, self.labels, [self.own_label(u) for u in utterances], utterances)

    def own_label(self, utterance: Utterance) -> str | None:
        """The corpus's own label of an utterance; None without one, or where only another split is tested."""
        label = utterance.label if self.label_field == "label" else utterance.extra.get(self.label_field)
        if self.joint and self.joint.test_split and self.is_test_only(utterance):
            label = label if utterance.split == self.joint.test_split else None
        return None if label is None else str(label)

    def with_one_spelling(self, utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
        """The utterances under the names that their spellings mean."""
        if not self.names:
            return tuple(utterances)
        return tuple(self._renamed(u) for u in utterances)

    def _renamed(self, utterance: Utterance) -> Utterance:
        names: dict[str, Any] = {key: rules.name(getattr(utterance, key)) for key, rules in self.names.items()}
        return replace(utterance, **names)

    def keeps_apart(self, utterance: Utterance) -> tuple[str, ...]:
        """The attributes by which the folds of an utterance's corpus must be disjoint."""
        if self.joint is None:
            return tuple(dict.fromkeys((self.fold_by, *self.disjoint)))
        corpus = corpus_of(utterance.id)
        return tuple(dict.fromkeys((self.joint.by.get(corpus, ""), *self.joint.disjoint.get(corpus, ()))))

    def is_test_only(self, utterance: Utterance) -> bool:
        """Whether an utterance belongs to a corpus that is never trained on."""
        return self.test_corpus is not None and corpus_of(utterance.id) == self.test_corpus

    def fold_value(self, utterance: Utterance) -> str | None:
        """The session, speaker, dialogue, sentence or split that decides an utterance's group."""
        if self.fold_by == "file":
            return self.fold_file.group_of(utterance.id) if self.fold_file else None
        by = self.joint.by.get(corpus_of(utterance.id)) if self.joint else self.fold_by
        value: str | None = getattr(utterance, by) if by else None
        return value

    def group_of(self, utterance: Utterance) -> str:
        """The group of an utterance: the fold that tests it, or its split, or its side.

        Raises:
            UsageError: The utterance has no value for what forms the folds, or one of no group.
        """
        if self.is_test_only(utterance):
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
        """The counts of the task's utterances: what is counted, the counts found, and the expected ones."""
        if self.expected is None:
            return []
        counted: list[tuple[str, Mapping[str, int], Mapping[str, int]]] = [
            ("utterances", {"in all": len(utterances)}, {"in all": self.expected.total})
        ]
        for corpus, classes in self.expected.corpora.items():
            present = Counter(c for u in utterances if corpus_of(u.id) == corpus for c in self.classes_of(u))
            counted.append((f"{corpus} class", present, classes))
        if not self.expected.corpora:
            counted.append(("class", Counter(c for u in utterances for c in self.classes_of(u)), self.expected.classes))
        counted.append(
            (
                "fold" if self.fold_by == "file" else self.fold_by,
                Counter(self.group_of(u) for u in utterances),
                self.expected.folds,
            )
        )
        return [(kind, present, expected) for kind, present, expected in counted if expected]

    def differences(self, utterances: Sequence[Utterance], available: set[str] | None = None) -> list[str]:
        """Where the counts of the task differ from the expected ones, one line with both numbers each.

        Args:
            utterances: The utterances of the task (those with a class).
            available: The ids that have every feature in use; None means all. Known gaps of the release count too.
        """
        return [
            f"{kind} {key}: found {have.get(key, 0)}, expected {want.get(key, 0)}"
            for kind, have, want in self.counts(self._utterances_to_count(utterances, available))
            for key in sorted({*have, *want})
            if have.get(key, 0) != want.get(key, 0)
        ]

    def largest_difference(self, utterances: Sequence[Utterance], available: set[str] | None = None) -> int:
        """The largest difference of any count from the expected one (the total, a class, a fold); as `differences`."""
        counted = self.counts(self._utterances_to_count(utterances, available))
        return max(
            (abs(have.get(k, 0) - want.get(k, 0)) for _, have, want in counted for k in {*have, *want}), default=0
        )

    def _utterances_to_count(self, utterances: Sequence[Utterance], available: set[str] | None) -> list[Utterance]:
        gaps = set(self.expected.without_audio) if self.expected else set()
        return [u for u in utterances if available is None or u.id in available or u.id in gaps]

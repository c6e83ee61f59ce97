"""What a linear classifier reads from pooled features: emotion, speaker, gender, sentence, corpus.

A probe is a logistic regression with scikit-learn's default L2 penalty (C = 1, not tuned) on features that are
standardised by the training side, classes weighted equally (Alain and Bengio 2017: linear classifier probes). Its
score is UA: the mean of the recalls, whose chance level is 1 over the number of classes.

All but the speaker are tested on speakers that the probe was not trained on. A speaker can only be told by a probe
that was trained on it: its folds are stratified, and what a speaker's recordings share, such as the room, counts as
the speaker.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.scores import scores

FOLDS = 5
MINIMUM = 5
"""Utterances that a class needs to be probed."""
MOST_CLASSES = 40
"""The most frequent ones are probed."""
FEWEST_SPEAKERS = FOLDS
"""Speakers that each gender needs: a gender is known by its speakers, so its score is of as few cases as there are
speakers, and every fold should test each gender."""
STEPS = 100
"""Of L-BFGS, at most."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProbe:
    """The result of one probe, or why there is none."""

    target: str
    """emotion, speaker, gender, sentence or corpus."""
    score: float | None = None
    """UA over the test sides of all folds together, 0..1."""
    deviation: float = 0.0
    """Standard deviation of the folds' UA."""
    classes: int = 0
    utterances: int = 0
    folds: int = 0
    method: str = ""
    """How the folds are formed."""
    reason: str = ""
    """Why it was not measured; empty if it was."""

    @property
    def chance(self) -> float:
        """The UA of guessing."""
        return 1 / self.classes

    @property
    def skill(self) -> float:
        """How far the score is from chance (0) to perfect (1)."""
        return ((self.score or 0.0) - self.chance) / (1 - self.chance)

    @property
    def skill_deviation(self) -> float:
        """The deviation on the scale of `skill`."""
        return self.deviation / (1 - self.chance)


def linear_probe(
    target: str, values: NDArray[np.float32], names: Sequence[str | None], speakers: Sequence[str | None] | None
) -> LinearProbe:
    """How well a linear classifier finds a name from pooled features.

    Args:
        target: What the names are.
        values: [n, D].
        names: The class of each utterance; None is left out.
        speakers: Speakers of the utterances, that training and test are kept apart by; None mixes them.
    """
    kept, reason = _probed(target, names)
    if reason:
        return LinearProbe(target=target, reason=reason)
    chosen = [names[i] for i in kept]
    number = {name: i for i, name in enumerate(sorted({str(name) for name in chosen}))}
    labels = np.array([number[str(name)] for name in chosen], np.int64)
    groups = None if speakers is None else [speakers[i] for i in kept]
    if too_few := _too_few_speakers(target, chosen, groups):
        return LinearProbe(target=target, reason=too_few)
    try:
        splits, method = _splits(labels, groups)
    except ValueError as error:
        return LinearProbe(target=target, reason=str(error))
    never_tested = set(number.values()) - {label for _, test in splits for label in labels[test].tolist()}
    if never_tested:
        found = f"only {len(number) - len(never_tested)} of {len(number)} {target}s can be tested on new speakers"
        return LinearProbe(target=target, reason=found)
    predicted = np.full(len(labels), -1, np.int64)
    of_folds = []
    for train, test in splits:
        predicted[test] = _predicted(values[kept[train]], labels[train], values[kept[test]])
        of_folds.append(scores(labels[test], predicted[test])["ua"])
    tested = predicted >= 0
    return LinearProbe(
        target=target, score=scores(labels[tested], predicted[tested])["ua"], deviation=float(np.std(of_folds)),
        classes=len(number), utterances=int(tested.sum()), folds=len(of_folds), method=method,
    )  # fmt: skip


def _too_few_speakers(target: str, names: Sequence[str | None], speakers: Sequence[str | None] | None) -> str:
    """Why a gender cannot be probed; empty where it can, and for other targets."""
    if target != "gender" or speakers is None or not all(speakers):
        return ""
    counts = Counter(name for name, _ in set(zip(names, speakers, strict=True)))
    if min(counts.values()) >= FEWEST_SPEAKERS:
        return ""
    found = " and ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"too few speakers: {found}; each gender needs {FEWEST_SPEAKERS}"


def _probed(target: str, names: Sequence[str | None]) -> tuple[Numbers, str]:
    """The places of the utterances that are probed, and why there are none."""
    counts = Counter(name for name in names if name is not None)
    if not counts:
        return np.empty(0, np.int64), f"no {target} is known"
    if len(counts) == 1:
        return np.empty(0, np.int64), f"there is only one {target}"
    frequent = {name for name, count in counts.most_common(MOST_CLASSES) if count >= MINIMUM}
    if len(frequent) < 2:
        return np.empty(0, np.int64), f"fewer than two {target}s have {MINIMUM} utterances"
    return np.array([i for i, name in enumerate(names) if name in frequent], np.int64), ""


def _splits(labels: Numbers, speakers: Sequence[str | None] | None) -> tuple[list[tuple[Numbers, Numbers]], str]:
    """Training and test side of each fold, and how they were formed.

    Raises:
        ValueError: No fold can be formed; the message says why.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if speakers is None:
        folds = min(FOLDS, int(np.bincount(labels).min()))
        stratified = StratifiedKFold(folds, shuffle=True, random_state=0)
        return list(stratified.split(labels, labels)), f"{folds} folds, each speaker in training and test"
    known = np.array([s if s is not None else "" for s in speakers])
    speakers_known = len(set(known.tolist()) - {""})
    if "" in known or speakers_known < 2:
        splits, method = _splits(labels, None)
        why = "only one speaker is known" if speakers_known == 1 else "not all speakers are known"
        return splits, f"{method}, optimistic: {why}"
    folds = min(FOLDS, speakers_known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes with fewer groups than folds: the folds below are checked
        grouped = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
        splits = [
            (train, test)
            for train, test in grouped.split(labels, labels, known)
            if set(labels[test].tolist()) <= set(labels[train].tolist()) and len(set(labels[train].tolist())) > 1
        ]
    if not splits:
        raise ValueError("no speaker can be held out: each class would be missing on the training side")
    return splits, f"{len(splits)} folds, tested on new speakers"


def _predicted(train: NDArray[Any], labels: Numbers, test: NDArray[Any]) -> Numbers:
    """The class numbers that a logistic regression fitted on `train` gives to `test`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not fully converged after these steps: its predictions hardly change
        model = LogisticRegression(max_iter=STEPS, class_weight="balanced").fit(scaler.transform(train), labels)
    found: Numbers = model.predict(scaler.transform(test))
    return found


def all_probes(values: NDArray[np.float32], entries: Sequence[Any]) -> list[LinearProbe]:
    """The probes of pooled features: emotion, speaker, gender; the sentence where most utterances say one of a few
    prompted ones, and the corpus where there are several.

    Args:
        values: [n, D].
        entries: n entries of a collection.
    """
    return list(_probes(values, entries))


def _probes(values: NDArray[np.float32], entries: Sequence[Any]) -> Iterator[LinearProbe]:
    speakers = [e.speaker for e in entries]
    corpora = sorted({e.corpus for e in entries})
    labels_of = [{e.label for e in entries if e.corpus == corpus} for corpus in corpora]
    shared = set.intersection(*labels_of) if labels_of else set()
    labels = [e.label if e.label in shared else None for e in entries]  # a class of one corpus would give that away
    emotion = linear_probe("emotion", values, labels, speakers)
    if emotion.reason and len(corpora) > 1:
        reason = "the corpora share fewer than two labels; --protocol names a task over several corpora"
        emotion = LinearProbe(target="emotion", reason=reason)
    yield emotion
    yield linear_probe("speaker", values, speakers, None)
    yield linear_probe("gender", values, [e.gender for e in entries], speakers)
    if prompted(entries):
        yield linear_probe("sentence", values, [e.sentence for e in entries], speakers)
    if len(corpora) > 1:
        yield linear_probe("corpus", values, [e.corpus for e in entries], speakers)


def prompted(entries: Sequence[Any]) -> bool:
    """Whether at least half of the entries of a collection say one of a few sentences that many say."""
    counts = Counter(e.sentence for e in entries if e.sentence is not None)
    common = [count for _, count in counts.most_common(MOST_CLASSES) if count >= MINIMUM]
    return len(common) > 1 and sum(common) >= len(entries) / 2


def answer(name: str, probes: Sequence[LinearProbe]) -> str:
    """Whether a feature carries speakers rather than emotion, in one sentence; a second one if it is the words."""
    by_target = {probe.target: probe for probe in probes}
    emotion, speaker = by_target["emotion"], by_target["speaker"]
    unmeasured = [p for p in (emotion, speaker) if p.score is None]
    if unmeasured:
        reasons = " and ".join(f"the {p.target} probe has no score ({p.reason})" for p in unmeasured)
        return f"Whether {name} carries speakers rather than emotion cannot be said: {reasons}."
    difference = speaker.skill - emotion.skill
    spread = float(np.hypot(speaker.skill_deviation, emotion.skill_deviation))
    verdict = "speakers and emotions about equally well"
    if abs(difference) > spread:
        verdict = "speakers better than emotions" if difference > 0 else "emotions better than speakers"
    numbers = " and ".join(
        f"{p.target}s with UA {p.score:.3f} (chance {p.chance:.3f}, {100 * p.skill:.0f} % of the way to perfect)"
        for p in (speaker, emotion)
    )
    words = by_target.get("sentence")
    best = ""
    if words is not None and words.score is not None and words.skill > max(speaker.skill, emotion.skill):
        best = f" It predicts the sentence best: UA {words.score:.3f} (chance {words.chance:.3f})."
    return f"A linear probe predicts {verdict} from {name}: {numbers}.{best}"

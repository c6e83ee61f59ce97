"""Linear probes: what they find, what keeps them from being measured, and the answer in words."""

from __future__ import annotations

import numpy as np
import pytest

from emofuse.report.exploration.measure.probes import LinearProbe, all_probes, answer, linear_probe

LABELS = [("angry", "sad")[i % 2] for i in range(80)]
SPEAKERS = [f"s{i // 20}" for i in range(80)]


def values(names: list[str], strength: float) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    centres = {name: rng.standard_normal(8) for name in sorted(set(names))}
    noise = rng.standard_normal((len(names), 8))
    return (noise + strength * np.stack([centres[name] for name in names])).astype(np.float32)


def test_what_is_there_is_found_on_new_speakers() -> None:
    found = linear_probe("emotion", values(LABELS, 5), LABELS, SPEAKERS)
    assert found.score == 1.0
    assert (found.classes, found.utterances, found.folds, found.chance) == (2, 80, 4, 0.5)
    assert found.method == "4 folds, tested on new speakers"


def test_a_feature_without_usable_values_has_no_probe() -> None:
    assert all(found.reason for found in all_probes(np.empty((0, 0), np.float32), []))


def test_a_class_that_no_fold_can_test_leaves_no_score() -> None:
    speakers = [f"s{i // 20}" for i in range(60)]
    rooms = ["small" if speaker == "s2" else "large" for speaker in speakers]  # the small room is never in training
    found = linear_probe("room", values(rooms, 5), rooms, speakers)
    assert found.score is None
    assert found.reason == "only 1 of 2 rooms can be tested on new speakers"


@pytest.mark.parametrize(("men", "reason"), [(4, "5 female and 4 male; each gender needs 5"), (5, "")])
def test_a_gender_of_few_speakers_has_no_score(men: int, reason: str) -> None:
    speakers = [f"s{i // 6}" for i in range(6 * (5 + men))]
    genders = ["female" if i < 30 else "male" for i in range(len(speakers))]
    found = linear_probe("gender", values(genders, 5), genders, speakers)
    assert (found.reason, found.score) == (reason and f"too few speakers: {reason}", None if reason else 1.0)


def test_what_is_not_there_is_at_chance() -> None:
    found = linear_probe("emotion", values(SPEAKERS, 5), LABELS, SPEAKERS)
    assert found.score == pytest.approx(0.5, abs=0.15)
    assert linear_probe("speaker", values(SPEAKERS, 5), SPEAKERS, None).score == 1.0


def test_labels_that_go_with_speakers_are_not_found_on_new_ones() -> None:
    of_speaker = {"s0": "m", "s1": "f", "s2": "m", "s3": "f"}
    groups = [of_speaker[s] for s in SPEAKERS]
    grouped = linear_probe("group", values(SPEAKERS, 5), groups, SPEAKERS)
    mixed = linear_probe("group", values(SPEAKERS, 5), groups, None)
    assert mixed.score == 1.0
    assert grouped.score is not None
    assert grouped.score < 0.9


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([None] * 80, "no emotion is known"),
        (["sad"] * 80, "there is only one emotion"),
        (["sad"] * 77 + ["angry"] * 3, "fewer than two emotions have 5 utterances"),
    ],
)
def test_reasons_for_no_score(names: list[str | None], reason: str) -> None:
    found = linear_probe("emotion", values(LABELS, 1), names, SPEAKERS)
    assert (found.score, found.reason) == (None, reason)


def test_unknown_speakers_make_it_optimistic() -> None:
    assert "not all speakers are known" in linear_probe("emotion", values(LABELS, 5), LABELS, [None] * 80).method
    assert "only one speaker" in linear_probe("emotion", values(LABELS, 5), LABELS, ["s"] * 80).method


def test_no_speaker_can_be_held_out() -> None:
    speakers = ["s0" if label == "sad" else "s1" for label in LABELS]
    found = linear_probe("emotion", values(LABELS, 5), LABELS, speakers)
    assert found.score is None
    assert "no speaker can be held out" in found.reason


def scored(target: str, score: float, deviation: float = 0.01) -> LinearProbe:
    return LinearProbe(target=target, score=score, deviation=deviation, classes=4, utterances=80, folds=5)


def test_answers() -> None:
    assert "speakers better than emotions" in answer("f", [scored("emotion", 0.4), scored("speaker", 0.9)])
    assert "emotions better than speakers" in answer("f", [scored("emotion", 0.9), scored("speaker", 0.4)])
    assert "about equally well" in answer("f", [scored("emotion", 0.8, 0.1), scored("speaker", 0.85, 0.1)])
    words = answer("f", [scored("emotion", 0.4), scored("speaker", 0.5), scored("sentence", 0.9)])
    assert words.endswith("It predicts the sentence best: UA 0.900 (chance 0.250).")
    missing = LinearProbe(target="speaker", reason="no speaker is known")
    assert "cannot be said: the speaker probe has no score (no speaker is known)" in answer(
        "f", [scored("emotion", 0.4), missing]
    )

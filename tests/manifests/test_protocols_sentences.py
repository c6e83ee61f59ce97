"""Folds by sentence: the same words are never on two sides, where a text model could memorise them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests import protocol_files as protocols
from emofuse.manifests.folds.cross_validation import build_folds, fold_leaks
from emofuse.manifests.schema import Utterance

BY_SENTENCE = {"folds": {"by": "sentence", "parts": 3, "disjoint": ["sentence"]}}


def spoken() -> tuple[Utterance, ...]:
    """Twelve sentences, each spoken in every session."""
    return tuple(replace(u, text=f"Sentence number {i % 12}!") for i, u in enumerate(samples.utterances(12)))


def test_the_same_words_are_the_same_sentence() -> None:
    sentences = [
        Utterance(id=str(i), text=t).sentence for i, t in enumerate(("It's  OK.", "it s ok", "It is ok", "...", None))
    ]
    assert sentences == ["it s ok", "it s ok", "it is ok", None, None]


def test_no_sentence_is_on_two_sides() -> None:
    folds = build_folds(samples.protocol(**BY_SENTENCE), spoken(), "validation")
    assert [f.name for f in folds] == ["1", "2", "3"]
    for fold in folds:
        sides = [{u.sentence for u in side} for side in fold.sides.values()]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 12
    assert {u.id for fold in folds for u in fold.test} == {u.id for u in spoken()}


def test_the_leak_check_finds_sentences_shared_by_sessions() -> None:
    fold = build_folds(samples.protocol(), spoken(), "validation")[0]
    assert any("train and test share 12 sentence(s)" in line for line in fold_leaks(fold, ["sentence"]))


def test_an_utterance_without_text_is_in_no_part() -> None:
    of = (*spoken(), Utterance(id="silent", label="ang", text=None))
    with pytest.raises(UsageError, match=r"in none of them: \(none\) 1"):
        build_folds(samples.protocol(**BY_SENTENCE), of, "validation")


@pytest.mark.parametrize(
    "folds",
    [{"by": "sentence", "parts": 1}, {"by": "split", "parts": 3}, {"by": "speaker", "parts": 2, "groups": [["a"]]}],
)
def test_contradicting_parts_are_refused(folds: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"folds\.parts is"):
        samples.protocol(folds=folds)


@pytest.mark.parametrize("name", ["savee7", "savee4"])
def test_savee_has_the_same_task_by_sentence(name: str) -> None:
    one, other = protocols.load(name), protocols.load(f"{name}-sentences")
    assert (one.classes, one.labels, one.metrics) == (other.classes, other.labels, other.metrics)
    assert one.expected is not None
    assert other.expected is not None
    assert one.expected.classes == other.expected.classes
    assert other.fold_parts == 5
    assert protocols.default_for("savee").name == "savee7"

"""Protocols over several corpora: what they say of an utterance, and what a wrong one says."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from emofuse.common.errors import UsageError
from emofuse.manifests import protocol_files
from emofuse.manifests.names.joint import join_manifests, unjoined
from emofuse.manifests.schema import Excluded, Manifest, Utterance

RAW: dict[str, Any] = {
    "corpora": ["big", "small"],
    "source": "a test",
    "classes": ["angry", "happy"],
    "labels": {"big": {"ang": "angry", "exc": "happy"}, "small": {"a": "angry", "h": "happy"}},
    "metrics": ["ua"],
    "folds": {"by": {"big": "session", "small": "speaker"}, "groups": [["big:1", "small:x"], ["big:2"]]},
    "expected": {"total": 3, "classes": {"big": {"angry": 1, "happy": 1}, "small": {"happy": 1}}},
}
ELSEWHERE: dict[str, Any] = {
    "test_corpus": "far",
    "test_split": "test",
    "labels": RAW["labels"] | {"far": {"rage": "angry"}},
    "folds": {"by": RAW["folds"]["by"], "validation": ["big:2", "small:x"]},
    "expected": None,
}
BIG = Manifest(
    corpus="big",
    reader="big-1",
    utterances=(
        Utterance(id="u1", text="x", label="ang", session="1", speaker="1F", dialogue="d"),
        Utterance(id="u2", text="x", label="exc", session="2", speaker="2F", dialogue="e"),
    ),
    excluded=(Excluded(id="u3", reason="no label"),),
)
SMALL = Manifest(corpus="small", reader="small-1", utterances=(Utterance(id="u1", text="x", label="h", speaker="x"),))
FAR = Manifest(
    corpus="far",
    reader="far-1",
    utterances=tuple(Utterance(id=s, text="x", label="rage", split=s) for s in ("train", "test")),
)


def task(**changes: Any) -> protocol_files.Protocol:
    return protocol_files.parse("mine", {k: v for k, v in (copy.deepcopy(RAW) | changes).items() if v is not None})


def test_joined_names_carry_their_corpus_and_can_be_reversed() -> None:
    both = join_manifests([BIG, SMALL])
    assert (both.corpus, both.reader) == ("big+small", "big-1+small-1")
    assert both.ids == ["big:u1", "big:u2", "small:u1"]
    first, last = both.utterances[0], both.utterances[-1]
    assert (first.label, first.session, first.speaker, first.dialogue) == ("big:ang", "big:1", "big:1F", "big:d")
    assert (last.speaker, last.session, last.dialogue, last.text) == ("small:x", None, None, "x")
    assert [e.id for e in both.excluded] == ["big:u3"]
    assert [unjoined(u) for u in both.utterances] == [*BIG.utterances, *SMALL.utterances]


def test_a_name_may_contain_the_separator() -> None:
    odd = replace(SMALL.utterances[0], id="a:b", speaker="x:y")
    assert unjoined(join_manifests([replace(SMALL, utterances=(odd,))]).utterances[0]) == odd


def test_classes_and_groups_of_several_corpora() -> None:
    both, mine = join_manifests([BIG, SMALL]).utterances, task()
    assert (mine.corpus, mine.corpora, mine.test_corpus) == ("big+small", ("big", "small"), None)
    assert [mine.class_of(u) for u in both] == ["angry", "happy", "happy"]
    assert [mine.group_of(u) for u in both] == ["big:1+small:x", "big:2", "big:1+small:x"]
    assert (mine.grouping, mine.validated_on) == ("session of big and speaker of small", "the next group in turn")
    assert mine.class_of(replace(both[0], label="small:ang")) is None


def test_a_corpus_without_a_table_has_the_classes_as_labels() -> None:
    mine = task(labels={"big": RAW["labels"]["big"]})
    assert {k: v for k, v in mine.labels.items() if k.startswith("small")} == {
        "small:angry": "angry",
        "small:happy": "happy",
    }


def test_sides_are_disjoint_by_what_forms_the_groups_by_default() -> None:
    assert task().joint is not None
    assert task().joint.disjoint == {"big": ("session",), "small": ("speaker",)}
    declared = task(folds=RAW["folds"] | {"disjoint": {"big": ["session", "dialogue"]}})
    assert declared.joint is not None
    assert declared.joint.disjoint == {"big": ("session", "dialogue"), "small": ("speaker",)}


def test_another_corpus_is_the_test_side_and_only_in_its_split() -> None:
    mine, every = task(**ELSEWHERE), join_manifests([BIG, SMALL, FAR]).utterances
    assert (mine.corpora, mine.test_corpus, mine.validated_on) == (("big", "small"), "far", "big:2, small:x")
    assert [mine.class_of(u) for u in every] == ["angry", "happy", "happy", None, "angry"]
    assert [mine.group_of(u) for u in every] == ["train", "validation", "validation", "test", "test"]
    whole = task(**ELSEWHERE | {"test_split": None})
    assert [whole.class_of(u) for u in every[-2:]] == ["angry", "angry"]


def test_counts_are_reported_by_corpus_and_class() -> None:
    mine, both = task(), list(join_manifests([BIG, SMALL]).utterances)
    assert mine.expected is not None
    assert mine.expected.classes == {"angry": 1, "happy": 2}
    assert mine.differences(both) == []
    assert mine.differences(both[:2]) == [
        "utterances in all: found 2, expected 3",
        "small class happy: found 0, expected 1",
    ]
    moved = [*both[:2], replace(both[2], label="small:a")]
    assert mine.differences(moved) == [
        "small class angry: found 1, expected 0",
        "small class happy: found 0, expected 1",
    ]


def test_sides_are_counted_where_another_corpus_is_tested() -> None:
    expected = {"total": 4, "folds": {"train": 1, "validation": 1, "test": 1}}
    mine = task(**ELSEWHERE | {"expected": expected})
    used = [u for u in join_manifests([BIG, SMALL, FAR]).utterances if mine.class_of(u)]
    assert mine.differences(used) == ["group validation: found 2, expected 1"]


def test_protocols_are_found_by_their_corpora_in_any_order() -> None:
    assert protocol_files.names_for(["savee", "iemocap"], None) == ["joint4"]
    assert protocol_files.names_for(["iemocap", "savee"], "ravdess") == ["joint4-ravdess"]
    assert protocol_files.names_for(["iemocap", "meld"], None) == []


def folds(**changes: Any) -> dict[str, Any]:
    return {"folds": {k: v for k, v in (RAW["folds"] | changes).items() if v is not None}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": "big"}, "unknown key corpus; known: classes, corpora, expected"),
        ({"label_field": "sentiment"}, "unknown key label_field"),
        ({"corpora": "big"}, "corpora is 'big', expected a list"),
        ({"corpora": ["big"]}, "corpora names fewer than two, and there is no test_corpus"),
        ({"corpora": ["big", "small", "big"]}, "corpus 'big' is named 2 times"),
        ({"corpora": ["big", "small", "a:b"]}, "corpus 'a:b': ':' and '\\+' join names"),
        ({"labels": {"big": "ang"}}, "labels.big is 'ang', expected a table"),
        ({"labels": {"huge": {"a": "angry"}}}, "labels names corpus 'huge'; valid: big, small"),
        ({"labels": {"big": {"a": "sad"}}}, "label 'big:a' maps to 'sad', which is not a class"),
        (folds(by="session"), "folds.by is 'session', expected a table"),
        (folds(by={"big": "session"}), "folds.by.small is None; valid: session, speaker, dialogue"),
        (folds(by={"big": "session", "small": "split"}), "folds.by.small is 'split'; valid: session"),
        (folds(by=RAW["folds"]["by"] | {"far": "split"}), "folds.by names corpus 'far'; valid: big, small"),
        (folds(groups=[["1"]]), "folds.groups names '1', which is not CORPUS:VALUE of big or small"),
        (folds(groups=[["far:1"]]), "folds.groups names 'far:1', which is not CORPUS:VALUE"),
        (folds(groups=[["big:1"], ["big:1"]]), "folds.groups: 'big:1' is named 2 times"),
        (folds(disjoint={"big": ["split"]}), "folds.disjoint names 'split'; valid: session"),
        (folds(disjoint={"far": ["speaker"]}), "folds.disjoint names corpus 'far'; valid: big, small"),
        (folds(validation=["big:1"]), "folds.validation needs a test_corpus"),
        ({"test_split": "test"}, "test_split needs a test_corpus"),
        (
            {"expected": {"total": 1, "classes": {"big": {"sad": 1}}}},
            "expected.classes names 'sad', which is not a class",
        ),
        ({"expected": {"total": 1, "classes": {"far": {}}}}, "expected.classes names corpus 'far'; valid: big, small"),
        ({"expected": {"total": 1, "classes": {"angry": 1}}}, "expected.classes.angry is 1, expected a table"),
        (ELSEWHERE | {"test_corpus": "big"}, "corpus 'big' is named 2 times"),
        (ELSEWHERE | {"test_split": "valid"}, "test_split is 'valid'; valid: train, dev, test"),
        (ELSEWHERE | folds(groups=None), "folds.validation is missing"),
        (ELSEWHERE | folds(validation=["big:2"]), "folds.groups has no effect where another corpus is tested"),
        (
            ELSEWHERE | {"labels": {"big": {"a": "angry"}, "small": {"a": "angry"}, "far": {"joy": "happy"}}},
            "class 'happy' is tested but never trained",
        ),
    ],
)
def test_mistakes_in_a_joint_protocol_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        task(**changes)


def test_all_mistakes_of_a_joint_protocol_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        task(metrics=["accuracy"], test_split="valid", **folds(by={}))
    message = str(caught.value)
    for part in ("accuracy", "test_split is 'valid'", "folds.by.big is None", "folds.by.small is None"):
        assert part in message
    assert "folds.disjoint" not in message

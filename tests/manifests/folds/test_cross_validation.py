"""Folds, leaks between their sides, and encoders that have seen the test side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests import protocol_files as protocols
from emofuse.manifests.folds.cross_validation import Fold, build_folds, fold_leaks
from emofuse.manifests.schema import Utterance
from emofuse.train.resolve.leaks.leakage import find_leaks

PROTOCOL = samples.protocol()
UTTERANCES = samples.utterances()


def sessions(side: tuple[Utterance, ...]) -> set[str | None]:
    return {u.session for u in side}


def test_each_session_is_tested_once_and_the_next_one_validates() -> None:
    folds = build_folds(PROTOCOL, UTTERANCES, "validation")
    assert [(f.number, f.name, f.validated) for f in folds] == [
        (1, "1", "2"),
        (2, "2", "3"),
        (3, "3", "4"),
        (4, "4", "1"),
    ]
    assert [sessions(f.train) for f in folds] == [{"3", "4"}, {"1", "4"}, {"1", "2"}, {"2", "3"}]
    assert sorted(u.id for f in folds for u in f.test) == sorted(u.id for u in UTTERANCES)


def test_select_last_adds_validation_to_training() -> None:
    for fold in build_folds(PROTOCOL, UTTERANCES, "last"):
        assert fold.validation == ()
        assert fold.validated is None
        assert sessions(fold.train) == {"1", "2", "3", "4"} - sessions(fold.test)


@pytest.mark.parametrize("select", ["validation", "last"])
@pytest.mark.parametrize("by", ["session", "speaker", "dialogue"])
def test_the_sides_of_every_fold_have_each_utterance_once(select: Any, by: str) -> None:
    protocol = samples.protocol(folds={"by": by})
    for fold in build_folds(protocol, UTTERANCES, select):
        ids = [u.id for side in fold.sides.values() for u in side]
        assert sorted(ids) == sorted(u.id for u in UTTERANCES)


def test_groups_are_in_natural_order() -> None:
    many = samples.utterances(4, 11)
    names = [f.name for f in build_folds(PROTOCOL, many, "validation")]
    assert names == [str(i) for i in range(1, 12)]


def test_declared_groups_are_held_out_together_and_in_their_order() -> None:
    protocol = samples.protocol(folds={"by": "session", "groups": [["4", "1"], ["2"], ["3"]]})
    folds = build_folds(protocol, UTTERANCES, "validation")
    assert [f.name for f in folds] == ["4+1", "2", "3"]
    assert sessions(folds[0].test) == {"1", "4"}


@pytest.mark.parametrize(("count", "select"), [(2, "validation"), (1, "last")])
def test_too_few_groups_are_refused(count: int, select: Any) -> None:
    with pytest.raises(UsageError, match=f"there are {count}; with.* validation at least {count + 1} are needed"):
        build_folds(PROTOCOL, samples.utterances(8, count), select)


def official(*splits: str) -> tuple[Utterance, ...]:
    return tuple(replace(u, split=splits[i % len(splits)]) for i, u in enumerate(UTTERANCES))


SPLIT = samples.protocol(folds={"by": "split"})


def test_an_official_split_is_one_fold() -> None:
    (fold,) = build_folds(SPLIT, official("train", "dev", "test"), "validation")
    assert {side: {u.split for u in members} for side, members in fold.sides.items()} == {
        "train": {"train"},
        "validation": {"dev"},
        "test": {"test"},
    }


def test_select_last_leaves_an_official_dev_split_unused() -> None:
    (fold,) = build_folds(SPLIT, official("train", "dev", "test"), "last")
    assert {u.split for u in fold.train} == {"train"}
    assert fold.validation == ()


def test_an_empty_official_split_is_named_with_the_counts_of_the_others() -> None:
    with pytest.raises(UsageError, match=r"no usable dev utterances; it has: test 32, train 32"):
        build_folds(SPLIT, official("train", "test"), "validation")


@pytest.mark.parametrize("key", ["speaker", "dialogue"])
def test_a_speaker_or_dialogue_in_two_sessions_is_refused(key: str) -> None:
    leaking = (replace(UTTERANCES[0], **{key: getattr(UTTERANCES[-1], key)}), *UTTERANCES[1:])
    with pytest.raises(UsageError, match=rf"share 1 {key}\(s\): {getattr(UTTERANCES[-1], key)}"):
        build_folds(PROTOCOL, leaking, "validation")


@pytest.mark.parametrize("key", ["speaker", "dialogue"])
def test_missing_values_that_prevent_a_leak_check_are_refused(key: str) -> None:
    unchecked = (replace(UTTERANCES[0], **{key: None}), *UTTERANCES[1:])
    with pytest.raises(UsageError, match=f"without {key}, so leaks cannot be checked"):
        build_folds(PROTOCOL, unchecked, "validation")


def test_a_corpus_without_dialogues_gets_one_line_that_says_which_word_to_drop() -> None:
    without = tuple(replace(u, dialogue=None) for u in UTTERANCES)
    with pytest.raises(UsageError) as refused:
        build_folds(PROTOCOL, without, "validation")
    assert str(refused.value).count("without dialogue") == 1
    assert 'leave "dialogue" out of "disjoint" under [folds]' in str(refused.value)


def test_the_protocol_decides_what_must_be_disjoint() -> None:
    leaking = (replace(UTTERANCES[0], speaker=UTTERANCES[-1].speaker), *UTTERANCES[1:])
    loose = samples.protocol(folds={"by": "session", "disjoint": ["session"]})
    assert len(build_folds(loose, leaking, "validation")) == 4


def test_the_same_utterance_on_two_sides_is_a_leak_in_any_protocol() -> None:
    one, two, three = UTTERANCES[:3]
    fold = Fold(number=1, name="x", validated="y", train=(one, two), validation=(three,), test=(two,))
    assert fold_leaks(fold, ()) == [f"fold 1: train and test share 1 utterance(s): {two.id}"]


FOLDS = build_folds(PROTOCOL, UTTERANCES, "validation")


def refused(fitted_on: Any) -> list[int]:
    return [int(line.split()[1]) for line in find_leaks("bert", {"fitted_on": fitted_on}, "tiny", FOLDS)[0]]


@pytest.mark.parametrize(
    ("fitted_on", "folds"),
    [
        ({"corpus": "tiny", "sessions": ["1", "3"], "labels": True}, [1, 3]),
        ({"corpus": "tiny", "speakers": ["2F"], "labels": True}, [2]),
        ({"corpus": "tiny", "ids": [UTTERANCES[-1].id], "labels": True}, [4]),
        ([{"corpus": "tiny", "sessions": ["1"]}, {"corpus": "tiny", "sessions": ["2"], "labels": True}], [1, 2]),
        ({"corpus": "tiny", "labels": True}, [1, 2, 3, 4]),
        ({"corpus": "tiny", "ids": "0123abcd", "labels": True}, [1, 2, 3, 4]),
        ({"corpus": "other", "labels": True}, []),
        ({"corpus": "tiny", "labels": False}, []),
        ({"corpus": "TINY", "sessions": [1]}, [1]),
        ({"corpus": "tiny", "sessions": ["1"], "labels": "no"}, [1]),
        ({"corpus": "unknown", "labels": False}, []),
        ([], []),
        (None, []),
    ],
    ids=[
        "sessions",
        "speakers",
        "ids",
        "labels not declared",
        "whole corpus",
        "a digest",
        "another corpus",
        "no labels",
        "in upper case, as a number",
        "labels as text",
        "unknown, without labels",
        "nothing",
        "none",
    ],
)
def test_an_encoder_fitted_on_test_labels_is_refused_for_those_folds(fitted_on: Any, folds: list[int]) -> None:
    assert refused(fitted_on) == folds


@pytest.mark.parametrize(
    "fitted_on",
    [
        {"corpus": "unknown"},
        {"corpus": "Unknown", "labels": True, "sessions": ["9"]},
        [{"corpus": "other"}, {"corpus": "unknown", "about": "a head"}],
        "a task that the checkpoint does not name",
        "",
        0,
        True,
        ["tiny"],
        {},
        {"corpus": None},
        {"corpus": ["tiny"]},
    ],
    ids=str,
)
def test_undeclared_training_data_is_refused_in_one_line(fitted_on: Any) -> None:
    with pytest.raises(UsageError) as caught:
        find_leaks("bert", {"fitted_on": fitted_on}, "tiny", FOLDS, "extract --encoder bert")
    assert str(caught.value) == (
        "it is unspecified what the encoder of feature 'bert' was fitted on; specify it with "
        "`extract --encoder bert --fitted-on none`, or --fitted-on CORPUS, or --fitted-on CORPUS:session=1,2"
    )


def test_most_ids_of_a_test_side_count_as_the_same_corpus_under_any_name() -> None:
    ids = [u.id for u in UTTERANCES if u.session in ("1", "2")]
    entry = {"fitted_on": {"corpus": "other", "ids": ids[:-1], "labels": True}}
    bad, _ = find_leaks("bert", entry, "tiny", FOLDS)
    assert [line[:6] for line in bad] == ["fold 1", "fold 2"]
    assert "16 of 16 test utterances, as corpus other, with their labels: s1_u000" in bad[0]
    few = {"fitted_on": {"corpus": "other", "ids": ids[:7], "labels": True}}
    assert find_leaks("bert", few, "tiny", FOLDS) == ([], [])


def test_unknown_splits_are_refused_with_their_counts() -> None:
    with pytest.raises(UsageError) as caught:
        build_folds(SPLIT, official("train", "dev", "test", "valid"), "validation")
    message = str(caught.value)
    assert "16 of 64 utterances are in none of them: valid 16; valid: train, dev, test" in message
    assert "Correct the corpus's split and extract again" in message


def test_groups_of_no_fold_are_refused_with_their_counts() -> None:
    protocol = samples.protocol(folds={"by": "session", "groups": [["1"], ["2"]]})
    with pytest.raises(UsageError, match=r"32 of 64 utterances are in none of them: 3 16, 4 16; valid: 1, 2\."):
        build_folds(protocol, UTTERANCES, "last")
    nameless = (*UTTERANCES[1:], replace(UTTERANCES[0], session=None))
    with pytest.raises(UsageError, match=r"by session, and 1 of 64 .*: \(none\) 1; valid: any session"):
        build_folds(PROTOCOL, nameless, "validation")


def test_a_listed_session_does_not_clear_an_utterance_without_session() -> None:
    unknown = [replace(f, test=tuple(replace(u, session=None) for u in f.test)) for f in FOLDS]
    entry = {"fitted_on": {"corpus": "tiny", "sessions": ["9"], "labels": True}}
    assert len(find_leaks("bert", entry, "tiny", unknown)[0]) == 4


def test_pretraining_without_labels_is_allowed_and_reported() -> None:
    entry = {"fitted_on": {"corpus": "tiny", "sessions": ["2"], "labels": False}}
    bad, remarks = find_leaks("hubert", entry, "tiny", FOLDS)
    assert bad == []
    assert remarks == [
        "fold 2 (2): the encoder of 'hubert' was fitted on 16 of 16 test utterances, without labels; this is allowed"
    ]


DECLARED = {n: protocols.declared(n) for n in protocols.names()}
JOINT = [n for n, p in DECLARED.items() if p.joint]


@pytest.mark.parametrize(
    "name", [n for n, p in DECLARED.items() if not p.joint and not p.fold_parts and not p.fold_source]
)
def test_every_included_protocol_forms_folds(name: str) -> None:
    protocol = protocols.load(name)
    groups = ["+".join(g) for g in protocol.fold_groups] or list(protocol.expected.folds if protocol.expected else ())
    groups = ["train", "dev", "test"] if protocol.fold_by == "split" else groups or ["1", "2", "3"]
    made = []
    for i, group in enumerate(groups):
        names = {"session": group, "speaker": group, "dialogue": group, "split": group}
        names |= {protocol.fold_by: group.split("+")[0]}
        label = next(iter(protocol.labels), "neu")
        extra = {d.field: d.low for d in protocol.target.dimensions}
        extra |= {protocol.target.votes_field: f"{label}:2"} if protocol.target.kind == "distribution" else {}
        made.append(Utterance(id=f"u{i}", text="x", label=label, extra=extra, **names))
    selects = len(groups) > 2  # with two groups none is left to select the checkpoint
    folds = build_folds(protocol, made, "validation" if selects else "last")
    assert [f.name for f in folds] == (["test"] if protocol.fold_by == "split" else [f.name for f in folds])
    assert all(f.train and bool(f.validation) == selects and f.test for f in folds)


@pytest.mark.parametrize("name", JOINT)
def test_every_included_joint_protocol_forms_folds(name: str) -> None:
    protocol = protocols.load(name)
    assert protocol.joint is not None
    names = [v for group in protocol.fold_groups for v in group]
    names = names or [*protocol.joint.validation, *(f"{corpus}:another" for corpus in protocol.corpora)]
    first = {label.split(":")[0]: label for label in reversed(protocol.labels)}
    made = [
        Utterance(id=f"{n}/u", text="x", label=first[n.split(":")[0]], session=n, speaker=n, dialogue=n) for n in names
    ]
    if protocol.test_corpus:
        label, split = first[protocol.test_corpus], protocol.joint.test_split
        made.append(Utterance(id=f"{protocol.test_corpus}:u", text="x", label=label, split=split))
    folds = build_folds(protocol, made, "validation")
    assert [f.name for f in folds] == ([protocol.test_corpus] if protocol.test_corpus else [f.name for f in folds])
    assert all(f.train and f.validation and f.test for f in folds)

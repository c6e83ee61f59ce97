"""What an utterance's annotations say of each target, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emofuse.common.errors import UsageError
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.protocol_parsing import parse
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.truth import truth_problems, truth_remarks
from emofuse.manifests.votes import parse_votes, votes_text

SCALE = {"low": 1, "high": 5}


def protocol(kind: str, **changes: Any) -> Protocol:
    raw: dict[str, Any] = {"corpus": "c", "source": "s", "target": kind, "folds": {"by": "speaker"}}
    parts: dict[str, Any] = {
        "classes": {"classes": ["a", "b"], "metrics": ["ua"]},
        "distribution": {"classes": ["a", "b"], "labels": {"A": "a", "B": "b"}, "metrics": ["kl"]},
        "multilabel": {"classes": ["a", "b"], "metrics": ["macro_f1"]},
        "dimensions": {"dimensions": {"valence": SCALE}, "metrics": ["ccc"]},
        "classes+dimensions": {"classes": ["a", "b"], "dimensions": {"valence": SCALE}, "metrics": ["ua", "ccc"]},
    }
    return parse("mine", raw | parts[kind] | changes)


def said(**extra: Any) -> Utterance:
    label = extra.pop("label", None)
    return Utterance(id=extra.pop("id", "u"), text="t", label=label, speaker="s", extra=extra)


def test_truth_of_each_kind() -> None:
    voted = [said(votes="A:3 B:1 X:5"), said(votes="B:2")]
    assert protocol("distribution").truth(voted).tolist() == [[3, 1], [0, 2]]
    sets = [said(label="a,b"), said(label="b, other")]
    assert protocol("multilabel").truth(sets).tolist() == [[1, 1], [0, 1]]
    assert protocol("dimensions").truth([said(valence=2.5)]).tolist() == [[2.5]]
    assert protocol("classes+dimensions").truth([said(label="b", valence=2.5)]).tolist() == [[1, 2.5]]
    plain = protocol("classes").truth([said(label="b")])
    assert plain.tolist() == [1]
    assert plain.dtype == np.int64


def test_membership() -> None:
    rated, voted, several = protocol("dimensions"), protocol("distribution"), protocol("multilabel")
    assert rated.has(said(valence=2.0))
    assert rated.has(said(valence="2.0"))
    assert not rated.has(said(valence=float("nan")))
    assert rated.has(said(valence="high"))  # to be named as wrong
    assert not rated.has(said(arousal=2.0))
    assert voted.has(said(votes="A:1"))
    assert not voted.has(said(votes="X:4"))
    assert not voted.has(said())
    assert several.has(said(label="other,a"))
    assert not several.has(said(label="other"))
    assert not several.has(said())
    assert not protocol("classes+dimensions").has(said(label="a"))


def test_classes_of_an_utterance() -> None:
    voted, several = protocol("distribution"), protocol("multilabel")
    assert voted.class_of(said(votes="A:1 B:3")) == "b"
    assert voted.class_of(said(votes="B:2 A:2")) == "a"  # of a tie the first class
    assert several.class_of(said(label="a,b")) is None
    assert several.classes_of(said(label="b,a")) == ("b", "a")
    assert protocol("dimensions").classes_of(said(valence=1.0)) == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=3", "is not LABEL:VOTES"),
        ("A:2,B:1", "'A:2,B:1' is not LABEL:VOTES; separate the votes by blanks"),
        ("A:2;B:1", "separate the votes by blanks"),
        ("A:many", "'many' is not a number"),
        ("A:-1 B:2", "votes are numbers from 0"),
        ("A:inf", "votes are numbers from 0"),
        ("A:nan", "votes are numbers from 0"),
        ("A:0", "there is no vote"),
        ("", "there is no vote"),
        ("A:0.5 B:0.2", "the shares sum to 0.7, expected 1"),
    ],
)
def test_votes_that_cannot_be_used_are_named_with_their_utterance(text: str, problem: str) -> None:
    bad = said(id="clip7", votes=text)
    (line,) = truth_problems(protocol("distribution").target, [said(votes="A:1"), bad])
    assert "clip7" in line
    assert problem in line


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    voted = protocol("distribution").target
    votes = [said(votes="A:2 B:1"), said(votes="X:2"), said()]
    assert truth_remarks(voted, votes, votes[:1]) == [
        "without votes and left out: 1 of 3 utterances",
        "with votes only for labels that are no class, and left out: 1 of 3 utterances",
    ]


def test_votes_and_shares_that_can_be_used() -> None:
    assert parse_votes("A:3 N:1") == {"A": 3, "N": 1}
    assert parse_votes("A:0.75 N:0.25") == {"A": 0.75, "N": 0.25}
    assert parse_votes(votes_text(["N", "A", "N"])) == {"N": 2, "A": 1}


def test_ratings_outside_the_scale_are_listed_once() -> None:
    rated = [said(id=f"u{i}", valence=value) for i, value in enumerate((1.0, 5.0, 5.5, 0.0, 9.0, 7.0))]
    (line,) = truth_problems(protocol("dimensions").target, rated)
    assert line.startswith("4 ratings of valence outside its scale, 1 to 5: u2 5.5, u3 0, u4 9, ...")


def test_ratings_that_are_not_numbers_are_named_and_not_left_out() -> None:
    task = protocol("dimensions")
    rated = [said(id="u0", valence=value) for value in ("3,5", "high", "inf", "nan")]
    assert [task.has(u) for u in rated] == [True, True, True, False]
    unreadable, outside = truth_problems(task.target, rated)
    assert unreadable.startswith("2 ratings of valence not a number: u0 '3,5', u0 'high'; expected")
    assert outside.startswith("1 rating of valence outside its scale, 1 to 5: u0 inf;")
    assert truth_remarks(task.target, rated, rated[:1]) == ["without valence and left out: 1 of 4 utterances"]


def test_a_target_is_described_without_the_names_of_columns() -> None:
    assert protocol("dimensions").target.described == "ratings valence 1 to 5"
    assert protocol("classes+dimensions").target.described == "classes a, b; ratings valence 1 to 5"


def test_remarks_name_what_is_missing_and_single_raters() -> None:
    rated = protocol("dimensions").target
    candidates = [said(valence=2.0), said(), said()]
    assert truth_remarks(rated, candidates, candidates[:1]) == ["without valence and left out: 2 of 3 utterances"]
    voted = protocol("distribution").target
    used = [said(votes="A:1"), said(votes="A:2 B:1")]
    assert truth_remarks(voted, [*used, said()], used) == [
        "without votes and left out: 1 of 3 utterances",
        "of one rater only, so one class has all: 1 of 2",
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("dimensions", {"target": "dimension"}, "did you mean 'dimensions'?"),
        ("dimensions", {"dimensions": {}}, "needs [dimensions]"),
        ("dimensions", {"dimensions": {"valence": {"low": 5, "high": 1}}}, "low must be below high"),
        ("dimensions", {"dimensions": {"a b": SCALE}}, "expected a name of letters"),
        ("dimensions", {"classes": ["a"]}, "classes has no effect"),
        ("dimensions", {"metrics": ["ua"]}, "no metric named 'ua'; valid: ccc, pearson, mae, ccc_valence"),
        ("classes", {"dimensions": {"valence": SCALE}}, "[dimensions] has no effect with target 'classes'"),
        ("classes", {"distribution": {"other": "ignore"}}, "[distribution] has no effect"),
        ("distribution", {"distribution": {"other": "drop"}}, "valid: ignore, spread"),
        ("distribution", {"classes": []}, "classes is empty"),
        ("distribution", {"metrics": ["auroc"]}, "the first metric selects, and auroc cannot"),
        ("multilabel", {"classes": ["a,b"], "labels": {"x": "a,b"}}, "separates labels"),
        ("multilabel", {"metrics": ["kl"]}, "no metric named 'kl'"),
    ],
)
def test_mistakes_in_a_protocol(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        protocol(kind, **changes)
    assert message in str(caught.value)

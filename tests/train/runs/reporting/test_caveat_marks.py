"""A run with a caveat has a mark, and a run without has none."""

from __future__ import annotations

from typing import Any

import pytest

from emofuse.train.runs.reporting.caveat_marks import MEANINGS, caveat_marks
from emofuse.train.runs.reporting.caveats import caveats

EVALUATION: dict[str, Any] = {
    "trained_on": "a",
    "evaluated_on": "b",
    "same_corpus": False,
    "run_caveats": [],
    "left_out": {},
    "absent_classes": [],
    "untested": 0,
    "shared_audio": [],
    "unchecked_stores": [],
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("reduced", {"reduced": {"found": 1, "expected": 2}}),
    ("short", {"limit": 100}),
    ("short", {"short_training": {"epochs": 2.5, "preset": 50.0, "option": "--epochs"}}),
    ("whole dialogue", {"context": "all"}),
    ("speakers", {"speaker_standardised": ["audio"]}),
    ("duplicates", {"duplicate_audio": [{"test": "a"}]}),
    ("near duplicates", {"near_duplicates": [{"test": "a"}]}),
    ("sanity", {"shuffled": ["labels"]}),
    ("uncertain", {"interval": {"trusted": False, "units": 2, "unit": "speaker"}}),
    ("final", {"final": {}}),
    ("evaluated", {"evaluation": EVALUATION}),
]


@pytest.mark.parametrize(("mark", "metrics"), CASES)
def test_each_caveat_has_its_mark(mark: str, metrics: dict[str, Any]) -> None:
    assert len(caveats(metrics)) == 1
    assert caveat_marks(metrics) == (mark,)


@pytest.mark.parametrize(
    "metrics",
    [{}, {"reduced": {}}, {"interval": {"trusted": True, "units": 9, "unit": "speaker"}}, {"interval": {"units": 3}}],
)
def test_a_run_without_caveats_has_no_mark(metrics: dict[str, Any]) -> None:
    assert caveats(metrics) == []
    assert caveat_marks(metrics) == ()


def test_an_evaluation_carries_the_caveats_of_its_run() -> None:
    shared = {"evaluation": EVALUATION | {"shared_audio": ["a"], "run_caveats": ["short run"]}}
    assert caveat_marks(shared) == ("duplicates", "evaluated", "trained run")


def test_a_score_that_was_chosen_on_test_is_marked() -> None:
    assert caveat_marks({"optimistic": {}}) == ("optimistic",)
    assert {"optimistic", *(mark for mark, _ in CASES), "trained run"} == {*MEANINGS}

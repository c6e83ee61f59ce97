"""`shape_problems` names each wrong value in TOML and JSON."""

from __future__ import annotations

from typing import Any

import pytest

from emofuse.common.toml_checks import shape_problems

SHAPE: dict[str, Any] = {"name": str, "n": int, "x": float, "on": bool, "list": [str], "of": {str: int}}


def test_correct_values_give_no_problem() -> None:
    correct = {"name": "a", "n": 1, "x": 2, "on": True, "list": ["b"], "of": {"c": 3}}
    assert shape_problems(correct, SHAPE) == []
    assert shape_problems({"x": 0.5}, SHAPE) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"name": 1}, "name is 1, expected text"),
        ({"n": 1.5}, "n is 1.5, expected a whole number"),
        ({"n": True}, "n is True, expected a whole number"),
        ({"x": "1"}, "x is '1', expected a number"),
        ({"x": False}, "x is False, expected a number"),
        ({"on": 1}, "on is 1, expected true or false"),
        ({"list": "b"}, "list is 'b', expected a list"),
        ({"list": ["b", 2]}, "list, item 2, is 2, expected text"),
        ({"of": {"c": "3"}}, "of.c is '3', expected a whole number"),
        ({"of": []}, "of is [], expected a table"),
        ({"nmae": "a"}, "unknown key nmae; known: list, n, name, of, on, x; did you mean name?"),
    ],
)
def test_each_problem_is_named(value: Any, problem: str) -> None:
    assert shape_problems(value, SHAPE) == [problem]


def test_all_problems_are_named_at_once() -> None:
    assert len(shape_problems({"name": 1, "n": "2", "z": 0}, SHAPE)) == 3

"""The shape of a JSON value: what fits has no misfits, and each misfit is named."""

from __future__ import annotations

from typing import Any

import pytest

from emofuse.common.shapes import misfits

SHAPE = {"a": int, "b?": [{"c": (float, None)}], "d?": {str: (str, [int])}}


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        {"a": 1, "b": []},
        {"a": 1, "b": [{"c": None}, {"c": 2}], "other": object()},
        {"a": 0, "d": {"x": "y", "z": [1, 2]}},
    ],
)
def test_what_fits(value: Any) -> None:
    assert misfits(value, SHAPE, "it") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ["it is a list, expected an object"]),
        ({}, ["it has no a"]),
        ({"a": True}, ["it.a is True, expected a whole number"]),
        ({"a": 1, "b": {}}, ["it.b is an object, expected a list"]),
        ({"a": "x", "b": [{"c": 1.5}, {"c": float("nan")}, {}]},
         ["it.a is 'x', expected a whole number", "it.b[1].c is nan, expected a number or null", "it.b[2] has no c"]),
        ({"a": 1, "d": {"x": 3, "y": "fine", "z": ["no"]}},
         ["it.d.x is 3, expected a text or a list", "it.d.z is a list, expected a text or a list"]),
    ],
)  # fmt: skip
def test_each_misfit_is_named(value: Any, expected: list[str]) -> None:
    assert misfits(value, SHAPE, "it") == expected

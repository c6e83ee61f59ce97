"""Values that are no option values are reported, whatever they are; natural forms are converted."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from emofuse.common.location import Url
from emofuse.common.option_values import as_joined_text, as_path, as_tuple, check_values
from emofuse.common.problems import Problems


@dataclass
class Options:
    name: str
    where: Path | Url | None = None
    file: Path = Path("x")
    count: int | None = None
    share: float = 0.5
    on: bool = False
    names: tuple[str, ...] = ()
    side: Literal["left", "right"] | None = None


def problem_of(**values: Any) -> str:
    problems = Problems()
    wrong = check_values(
        Options(**{"name": "a", **values}), problems, expected={}, minimum={"count": 1}, examples={"name": "name='a'"}
    )
    assert len(wrong) == len(problems.errors)
    return "; ".join(str(error) for error in problems.errors)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"where": Url("s3://x"), "count": 1, "share": 1, "names": ("a",), "side": "left", "on": True}, ""),
        ({"name": MISSING}, "option 'name' is missing, such as name='a'"),
        ({"name": ""}, "option 'name' is missing, such as name='a'"),
        ({"name": np.zeros(1)}, "name is array([0.]), expected text"),
        ({"where": 1, "file": "x"}, "where is 1, expected a path, a URL or None; file is 'x', expected a path"),
        ({"count": 0}, "count is 0, expected a whole number, 1 or more, or None"),
        ({"count": True}, "count is True, expected a whole number, 1 or more, or None"),
        ({"on": 1}, "on is 1, expected True or False"),
        ({"share": "1"}, "share is '1', expected a number"),
        ({"names": ("a", 1)}, "names is ('a', 1), expected a sequence of texts"),
        ({"side": ["left"]}, "side is ['left'], expected 'left', 'right' or None"),
        ({"share": "x" * 200}, f"share is '{'x' * 96}..., expected a number"),
    ],
)
def test_a_value_is_checked_against_its_annotation(values: dict[str, Any], problem: str) -> None:
    assert problem_of(**values) == problem


def test_natural_forms_are_converted_and_others_are_unchanged() -> None:
    assert [as_path("a"), as_path(Path("a")), as_path(None), as_path(3)] == [Path("a"), Path("a"), None, 3]
    assert [as_tuple("ab"), as_tuple(["a"]), as_tuple(5), as_tuple({"a": 1})] == [("ab",), ("a",), 5, {"a": 1}]
    assert [as_joined_text(v) for v in ("1,3", 1, [1, "3"], range(2))] == ["1,3", "1", "1,3", "0,1"]
    assert [as_joined_text(v) for v in ([], [1.5], None, True, {"a": 1})] == [[], [1.5], None, True, {"a": 1}]

"""Tiny charts: one bar for each value, all on one scale."""

from __future__ import annotations

import re

from emofuse.common.charts.sparklines import HEIGHT, sparklines


def bars(path: str) -> list[tuple[float, float]]:
    """The base and the end of each bar, in the view box."""
    return [(float(a), float(b)) for a, b in re.findall(r"M [\d.]+ ([\d.]+) L [\d.]+ ([\d.]+)", path)]


def test_each_value_is_a_bar_on_the_scale_of_all() -> None:
    found = sparklines({"a": [0.25, 0.5], "b": [1.0]})
    assert [*found] == ["a", "b"]
    assert bars(found["a"]) == [(HEIGHT, 15), (HEIGHT, 10)]
    assert bars(found["b"]) == [(HEIGHT, 0)]


def test_values_below_zero_hang_from_zero() -> None:
    assert bars(sparklines({"a": [-0.5, 0.5]})["a"]) == [(10, 20), (10, 0)]


def test_zero_is_still_visible() -> None:
    (bar,) = bars(sparklines({"a": [0.0]})["a"])
    assert bar[0] > bar[1]
    assert bars(sparklines({"a": [0.0, 1.0]})["a"])[0] == (20, 19)


def test_they_follow_the_theme_and_stay_small() -> None:
    path = sparklines({"a": [0.1234567] * 30})["a"]
    assert path.startswith("<path ")
    assert path.endswith("/>")
    assert "stroke: var(--accent)" in path
    assert "#" not in path
    assert len(path) < 30 * 25
    width = float(re.search(r"stroke-width: ([\d.]+)", path)[1])  # type: ignore[index]
    assert width < 96 / 30  # bars do not touch


def test_keys_stay_as_they_are_and_nothing_gives_nothing() -> None:
    assert sparklines({}) == {}
    assert [*sparklines({'<"x">': [1.0], "spark-0": [0.5]})] == ['<"x">', "spark-0"]

"""Charts as elements of a page: the theme's colours, few bytes, every point, texts that stay text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import page_samples
import pytest

from emofuse.common.charts.drawing import NARROW, inline_svg, picture
from emofuse.common.charts.inline import page_svg
from emofuse.common.charts.matrix import matrix
from emofuse.common.charts.palette import group_colours
from emofuse.common.charts.scatter import scatter

POINTS = np.random.default_rng(0).standard_normal((900, 2))
MAP = scatter(POINTS, [page_samples.ATTACK] * 500 + ["b"] * 400, group_colours([page_samples.ATTACK, "b"]))


@pytest.fixture(scope="module")
def svg() -> str:
    return inline_svg(MAP, "map")


def test_a_map_has_every_point_in_a_fraction_of_the_bytes(svg: str) -> None:
    joined = [line.get("points", "").split() for line in ElementTree.fromstring(svg).iter("polyline")]
    assert sorted(map(len, joined)) == [400, 500]
    assert len(svg) < len(picture(MAP, "svg")) / 4


def test_the_points_lie_where_matplotlib_put_them(svg: str) -> None:
    file = ElementTree.fromstring(picture(MAP, "svg"))
    uses = [(float(e.get("x", 0)), float(e.get("y", 0))) for e in file.iter("{http://www.w3.org/2000/svg}use")]
    points = [
        tuple(map(float, p.split(",")))
        for line in ElementTree.fromstring(svg).iter("polyline")
        for p in line.get("points", "").split()
    ]
    assert np.allclose(points, uses[: len(points)], atol=1)


def test_texts_stay_texts_and_colours_follow_the_theme(svg: str) -> None:
    assert "&lt;img src=x" in svg
    assert "<img" not in svg
    assert "var(--ink)" in svg
    assert "#010101" not in svg


def test_ids_and_classes_begin_with_the_name_and_are_used(svg: str) -> None:
    ids = re.findall(r' id="([^"]+)"', svg)
    assert ids
    assert all(re.fullmatch(r"map-\d+", name) and f"#{name}" in svg for name in ids)
    assert set(re.findall(r'class="([^"]+)"', svg)) == set(re.findall(r"\.(map-s\d+)\{", svg))


def test_a_chart_tells_the_stylesheet_how_wide_it_was_drawn(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    assert root.get("width") == f"{NARROW * 96:.0f}"
    assert root.get("style") == f"--width:{NARROW * 96:.0f}px"


def test_a_large_matrix_draws_every_cell() -> None:
    values = np.linspace(0, 1, 1600).reshape(40, 40)
    values[3, 4] = np.nan
    svg = inline_svg(matrix(values, page_samples.FORTY, page_samples.FORTY), "m")
    squares = [path for path in re.findall(r'd="([^"]+)"', svg) if path.count(" z")]
    assert sum(path.count(" z") for path in squares) >= 1599
    assert len(svg) < 130_000


def test_markers_of_two_looks_stay_two_lines() -> None:
    uses = "".join(f'<use href="#a" x="{i}" y="0" style="fill: {c}"/>' for c in ("red", "blue") for i in range(6))
    root = ElementTree.fromstring(
        page_svg(
            f'<svg width="72pt" height="72pt" viewBox="0 0 72 72"><g><path id="a" d="M 0 0"/>{uses}</g></svg>', "n"
        )
    )
    assert [len(line.get("points", "").split()) for line in root.iter("polyline")] == [6, 6]
    assert len({line.get("marker-mid") for line in root.iter("polyline")}) == 2


def test_each_point_of_a_small_map_says_what_it_is() -> None:
    drawing = scatter(POINTS[:4], ["a", "b", "a", "b"], group_colours("ab"), titles_of_points=["1", "2 < 3", "3", "4"])
    root = ElementTree.fromstring(inline_svg(drawing, "m"))
    found = [(use.get("class"), use[0].text) for use in root.iter("use") if len(use)]
    assert [text for _, text in found] == ["1", "3", "2 < 3", "4"]  # one group after the other
    many = scatter(POINTS, ["a"] * 900, group_colours("a"), titles_of_points=["x"] * 900)
    assert "<title>" not in inline_svg(many, "m")

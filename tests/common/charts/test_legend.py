"""Names of a legend are read as lines are read."""

from __future__ import annotations

import re

from emofuse.common.charts.drawing import Colours, Drawing, inline_svg, legend, new_axes, new_figure


def drawing(names: int, across: int) -> Drawing:
    def draw(colours: Colours):  # type: ignore[no-untyped-def]
        figure = new_figure(colours, 4, 3)
        axes = new_axes(figure, colours)
        for n in range(names):
            axes.plot([0, 1], [n, n], label=f"name {n}")
        legend(axes, colours, loc="upper center", ncols=across)
        return figure

    return draw


def test_names_run_from_left_to_right_and_then_down() -> None:
    svg = inline_svg(drawing(5, 2), "x")
    found = re.findall(r'<text[^>]*x="([\d.]+)"[^>]*y="([\d.]+)"[^>]*>(name \d)', svg)
    places = {name: (round(float(y)), round(float(x))) for x, y, name in found}
    assert len(places) == 5
    assert sorted(places, key=lambda name: places[name]) == [f"name {n}" for n in range(5)]

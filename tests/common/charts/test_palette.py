"""Colours contrast with the paper, light or dark."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from emofuse.common.charts.palette import class_colours, group_colours
from emofuse.common.page.render import FOLDER

NAMES = [str(n) for n in range(12)]
COLOURS = sorted({*class_colours(NAMES).values(), *group_colours(NAMES).values()})
STYLE = (FOLDER / "style.css").read_text(encoding="utf-8")
LIGHT, DARK = dict.fromkeys(re.findall(r"--paper: (#\w{6})", STYLE))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_is_seen_on_both_papers(colour: str) -> None:
    assert contrast(colour, DARK) >= 3
    assert contrast(colour, LIGHT) >= 2.2, "the lightest of Okabe and Ito's"


def test_an_emotion_has_one_colour_on_all_pages_however_it_is_spelled() -> None:
    assert class_colours(["x", "hap"])["hap"] == class_colours(["ang", "Joy", "sad"])["Joy"]


@pytest.mark.parametrize("names", ["abcdefg", "FTWNELA", ["joy", "happy", "amusement", "x", "neutral", "bored", "y"]])
def test_classes_of_a_page_differ(names: Sequence[str]) -> None:
    assert len({*class_colours(names).values()}) == len(names)


def test_more_classes_than_colours_begin_again() -> None:
    assert len(class_colours(map(str, range(40)))) == 40


def test_folds_do_not_have_the_colours_of_classes() -> None:
    assert not {*class_colours(NAMES).values()} & {*group_colours(NAMES).values()}

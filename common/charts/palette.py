"""Colours of the page, of classes and of groups: safe for colour-blind readers, legible on light and dark paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import xxhash


@dataclass(frozen=True, slots=True)
class Colours:
    """What a chart is drawn with besides the colours of classes; each is `#rrggbb`."""

    ink: str
    """Text and axes."""
    muted: str
    """Less important text and lines."""
    grid: str
    paper: str
    accent: str
    """The one colour of a chart without classes, also the cells of a matrix, as a share of opacity."""
    warning: str


PRINTED = Colours(ink="#1d2127", muted="#5b626d", grid="#dfe2e7", paper="#ffffff", accent="#0b63a5", warning="#b3261e")
"""For files: PNG, SVG and PDF on white paper."""
THEMED = Colours(ink="#010101", muted="#020202", grid="#030303", paper="#040404", accent="#050505", warning="#060606")
"""For pages: each stands for the variable of that name in the stylesheet, which knows light and dark."""

BLUE, VERMILION, GREY = "#2183c7", "#d55e00", "#8c8c8c"
_SAFE = (VERMILION, "#e69f00", BLUE, GREY, "#cc79a7", "#009e73", "#56b4e9", "#a6761d", "#8a72d4", "#44aa99", "#b85075",
         "#999933")  # fmt: skip
"""Okabe and Ito's palette without black and yellow, then muted tones that differ in lightness; blue is lighter than
theirs, for dark paper."""
_SYNONYMS = (
    ("ang", "anger", "angry", "a"),
    ("hap", "happy", "happiness", "joy", "amusement"),
    ("sad", "sadness", "grief"),
    ("neu", "neutral"),
    ("fea", "fear", "fearful", "anxiety", "nervousness"),
    ("dis", "disgust", "disgusted"),
    ("sur", "surprise", "surprised"),
    ("bor", "boredom", "bored"),
    ("fru", "frustration", "frustrated", "annoyance"),
    ("calm", "relief"),
    ("contempt", "disapproval"),
    ("exc", "excited", "excitement"),
)
"""The names of each emotion, in the order of the colours."""
_OF_EMOTION = {name: colour for names, colour in zip(_SYNONYMS, _SAFE, strict=True) for name in names}
OUTCOME_COLOURS = {"right": BLUE, "wrong": VERMILION}
"""Whether a prediction is the label -> its colour."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")


def class_colour(name: str) -> str:
    """The colour of a class, the same in every chart of every page.

    An emotion has its own however it is spelled (`hap`, `happy`, `joy`); that of another name follows from its letters.
    """
    lower = name.lower()
    return _OF_EMOTION.get(lower) or _SAFE[xxhash.xxh32_intdigest(lower.encode()) % len(_SAFE)]


def class_colours(names: Iterable[str]) -> dict[str, str]:
    """Class -> its colour."""
    return {name: class_colour(name) for name in names}


def group_colours(names: Iterable[str]) -> dict[str, str]:
    """Group (a speaker, a corpus, a run) -> its colour: in their order, again from the first after the last."""
    return {name: _SAFE[(2 + i) % len(_SAFE)] for i, name in enumerate(names)}


def markers(names: Iterable[str]) -> dict[str, str]:
    """Name -> the shape of its points, so that no chart depends on colour alone."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}

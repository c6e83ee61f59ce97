"""Colours of the page, of classes and of groups: safe for colour-blind readers, legible on light and dark paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, cycle


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
_OF_GROUPS = ("#4a6fd0", "#e0695a", "#2fa84f", "#c2478f", "#b5a000", "#2f9e9e", "#9a5fd6", "#a8785a", "#5f8aa8",
              "#7d8f2e")  # fmt: skip
"""Other tones than those of classes, neighbours far apart."""
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


def class_colours(names: Iterable[str]) -> dict[str, str]:
    """Class -> its colour; give all classes of a page at once, as no two of them share one up to the palette's size.

    An emotion has its own on every page, however it is spelled (`hap`, `happy`, `joy`). Other names, and the second
    spelling of an emotion, take the free colours in their order.
    """
    ordered = list(dict.fromkeys(names))
    colours: dict[str, str] = {}
    for name in ordered:
        own = _OF_EMOTION.get(name.lower())
        if own is not None and own not in colours.values():
            colours[name] = own
    free = [colour for colour in _SAFE if colour not in colours.values()]
    others = [name for name in ordered if name not in colours]
    colours |= dict(zip(others, chain(free, cycle(_SAFE)), strict=False))
    return {name: colours[name] for name in ordered}


def group_colours(names: Iterable[str]) -> dict[str, str]:
    """Group (a speaker, a corpus, a fold, a run) -> its colour: in their order, again from the first after the last."""
    return dict(zip(names, cycle(_OF_GROUPS), strict=False))


def markers(names: Iterable[str]) -> dict[str, str]:
    """Name -> the shape of its points, so that no chart depends on colour alone."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}

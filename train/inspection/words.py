"""Weights of word pieces as weights of the words of a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from emofuse.train.inspection.request import Spans

WITHOUT_SPACES = "\u2e80"
"""From this character on, scripts write words without spaces between them: each piece counts as a word."""
FULL = 4.0
"""How many times the weight of an equal share a word of the darkest colour has."""
Piece = tuple[str, float]
"""Some characters of a text, and their weight."""


def word_weights(text: str, spans: Spans, weights: Sequence[float]) -> tuple[list[Piece], float]:
    """Add up the weights of the pieces of each word.

    A piece that is of several words is divided among them by its characters. Pieces behind the last weight were not
    read by the model.

    Args:
        text: n characters.
        spans: The characters of each piece; (0, 0) where it is of none.
        weights: Of the pieces that the model read, at most as many as `spans`.

    Returns:
        All characters in order, words and what is between them, with weights; and the weight of pieces that are of no
        characters, such as the marks of a text's start and end.
    """
    words = _words(text, spans)
    word_at = {place: number for number, (start, end) in enumerate(words) for place in range(start, end)}
    of_word, outside = [0.0] * len(words), 0.0
    for (start, end), weight in zip(spans, weights, strict=False):
        characters = [word_at[place] for place in range(start, end) if place in word_at]
        for number in characters:
            of_word[number] += float(weight) / len(characters)
        outside += 0.0 if characters else float(weight)
    pieces: list[Piece] = []
    done = 0
    for (start, end), weight in zip(words, of_word, strict=True):
        if start > done:
            pieces.append((text[done:start], 0.0))
        pieces.append((text[start:end], weight))
        done = end
    return pieces + ([(text[done:], 0.0)] if done < len(text) else []), outside


def heat(pieces: Sequence[Piece]) -> list[Piece]:
    """How dark each piece is drawn, 0 to 1: fully from `FULL` times an equal share of the words on.

    So equal weights look equally pale, and not as if each word mattered most.
    """
    words = sum(bool(text.strip()) for text, _ in pieces)
    return [(text, min(1.0, weight * words / FULL)) for text, weight in pieces]


def _words(text: str, spans: Spans) -> Spans:
    """(start, end) of each word."""
    words: Spans = []
    for run in re.finditer(r"\S+", text):
        cuts = {run.start(), run.end()}
        if any(c >= WITHOUT_SPACES for c in run.group()):
            cuts |= {start for start, end in spans if run.start() < start < run.end() and end > start}
        ordered = sorted(cuts)
        words += list(pairwise(ordered))
    return words

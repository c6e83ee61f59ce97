"""Weights of word pieces as weights of the words of a text: the mean over the pieces of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from emofuse.train.inspection.request import Spans

WITHOUT_SPACES = "\u2e80"
"""From this character on, scripts write words without spaces between them: each piece counts as a word."""
FULL = 4.0
"""How many times an equal share the pieces of a word of full colour have."""
Piece = tuple[str, float]
"""Some characters of a text, and how many times an equal share their pieces have."""


def word_weights(text: str, spans: Spans, weights: Sequence[float]) -> tuple[list[Piece], float]:
    """The mean weight of the pieces of each word, where 1 is an equal share of all pieces.

    The mean, as a sum would put words of many pieces first. A piece that is of several words counts in each by its
    characters. Pieces behind the last weight were not read by the model.

    Args:
        text: n characters.
        spans: The characters of each piece; (0, 0) where it is of none.
        weights: Of the pieces that the model read, at most as many as `spans`; they sum to one.

    Returns:
        All characters in order, words and what is between them; and the weight of pieces that are of no characters,
        such as the marks of a text's start and end.
    """
    words = _words(text, spans)
    word_at = {place: number for number, (start, end) in enumerate(words) for place in range(start, end)}
    sums, counts, outside = [0.0] * len(words), [0.0] * len(words), 0.0
    for (start, end), weight in zip(spans, weights, strict=False):
        characters = [word_at[place] for place in range(start, end) if place in word_at]
        for number in characters:
            sums[number] += float(weight) / len(characters)
            counts[number] += 1 / len(characters)
        outside += 0.0 if characters else float(weight)
    pieces: list[Piece] = []
    done = 0
    for (start, end), total, count in zip(words, sums, counts, strict=True):
        if start > done:
            pieces.append((text[done:start], 0.0))
        pieces.append((text[start:end], total / count * len(weights) if count else 0.0))
        done = end
    return pieces + ([(text[done:], 0.0)] if done < len(text) else []), outside


def heat(pieces: Sequence[Piece]) -> list[Piece]:
    """How strong the colour of each piece is, 0 to 1: fully from `FULL` times an equal share on.

    So equal weights look equally pale, and not as if each word mattered most.
    """
    return [(text, min(1.0, times / FULL)) for text, times in pieces]


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

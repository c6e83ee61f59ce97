"""Single utterances with what the model weighs in them: over words and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from emofuse.common.charts.strips import Curve, strips
from emofuse.common.page.blocks import Cell, Chart, ClassName, Example, Sound
from emofuse.train.inspection.open_fold import OpenFold
from emofuse.train.inspection.predicted_fold import Predicted
from emofuse.train.inspection.request import InspectionRequest, Spans
from emofuse.train.inspection.weight_hooks import Array, Observed, WeightHook
from emofuse.train.inspection.words import Piece, heat, word_weights

MOST_POINTS = 200
"""Of a curve: more cannot be seen, and each page holds many."""
MOST_TICKS = 14
"""With more words than this, they stand above the curve only, and the axis has numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One utterance with the weights of each hook."""

    number: int
    """Its place on the page, from 1."""
    tested: Predicted
    weights: Mapping[str, Array]
    """Name of a hook -> over frames or pieces [T]."""
    shares: Sequence[float] | None
    """Of audio and text, where the model weighs them."""
    stored_frames: int | None
    frame_rate: float | None


def example_cards(
    fold: OpenFold,
    chosen: Sequence[int],
    hooks: Sequence[WeightHook],
    shares: Sequence[Array] | None,
    request: InspectionRequest,
    spans: Mapping[str, Spans],
) -> list[Example]:
    """A card for each chosen utterance of an open fold.

    Args:
        fold: n utterances.
        chosen: Places of some of them.
        hooks: Of the model.
        shares: Of audio and text in each of the n utterances, where the model weighs them.
        request: What is at hand of the corpus.
        spans: Id -> the characters of each piece of its text, where they are known.
    """
    over_time = [p for p in hooks if p.over in ("audio", "text")]
    observed: Observed = fold.observe(over_time, chosen)
    cards = []
    for number, place in enumerate(chosen):
        weighed = Weighed(
            number=number + 1,
            tested=fold.tested[place],
            weights={p.name: observed.weights[p.name][number] for p in over_time},
            shares=None if shares is None else shares[place].tolist(),
            stored_frames=fold.stored_lengths["audio"][place] if "audio" in fold.stored_lengths else None,
            frame_rate=fold.frame_rate,
        )
        cards.append(_card(weighed, over_time, request, spans.get(weighed.tested.id)))
    return cards


def _card(weighed: Weighed, hooks: Sequence[WeightHook], request: InspectionRequest, spans: Spans | None) -> Example:
    tested = weighed.tested
    facts: list[tuple[str, Cell]] = [("label", ClassName(name=tested.label))]
    facts += [("prediction", ClassName(name=tested.prediction)), ("probability", f"{tested.confidence:.2f}")]
    facts += [("speaker", tested.speaker)] if tested.speaker else []
    if weighed.shares is not None:
        facts.append(("audio / text", " / ".join(f"{share:.0%}" for share in weighed.shares)))
    over_text = [p.name for p in hooks if p.over == "text"]
    text = None if request.texts is None else request.texts.get(tested.id)
    said: Sequence[Piece] = [] if text is None else [(text, 0.0)]
    words: dict[str, list[Piece]] = {}
    if text is not None and spans is not None and over_text:
        found = {name: word_weights(text, spans, weighed.weights[name].tolist()) for name in over_text}
        words = {name: [(p, w) for p, w in pieces if p.strip()] for name, (pieces, _) in found.items()}
        said, outside = heat(found[over_text[0]][0]), found[over_text[0]][1]
        if outside >= 0.005:
            facts.append(("weight outside the words", f"{outside:.0%}"))
    charts = [_over_time(weighed, [p.name for p in hooks if p.over == "audio"], request)]
    if over_text and (not words or len(over_text) > 1):
        charts.append(_over_words(weighed, words) if words else _over_pieces(weighed, over_text))
    link = request.sound(tested.id)
    return Example(
        id=tested.id,
        facts=facts,
        text=said,
        charts=[chart for chart in charts if chart is not None],
        sound=None if link is None else Sound(href=link),
    )


def _over_time(weighed: Weighed, names: Sequence[str], request: InspectionRequest) -> Chart | None:
    """The curves over the audio, above the loudness where it is known."""
    if not names:
        return None
    rate = weighed.frame_rate or 1.0
    curves = {name: _curve(weighed.weights[name], rate) for name in names}
    energy, below = request.energy(weighed.tested.id), None
    if energy is not None and len(energy) and weighed.stored_frames:
        below = _loudness(np.asarray(energy, np.float64), weighed.stored_frames / rate)
    peaks = {name: x[int(np.argmax(y))] for name, (x, y) in curves.items()}
    unit = "s" if weighed.frame_rate else "frames"
    return Chart(
        name=f"over-time-{weighed.number}",
        title="Over time",
        alt="Weights over time, " + "; ".join(f"{n}: most at {x:.2f} {unit}" for n, x in peaks.items()) + ".",
        drawing=strips(
            curves,
            "time in s" if weighed.frame_rate else "frame",
            "× equal share",
            below=below,
            below_label="loudness",
            reference=1,
        ),
    )


def _over_words(weighed: Weighed, words: Mapping[str, Sequence[Piece]]) -> Chart:
    """The curves over the words of the text."""
    curves: dict[str, Curve] = {
        name: (list(range(len(pieces))), [weight for _, weight in pieces]) for name, pieces in words.items()
    }
    names = [word for word, _ in next(iter(words.values()))]
    peaks = {name: max(pieces, key=lambda piece: piece[1])[0] for name, pieces in words.items()}
    return Chart(
        name=f"over-words-{weighed.number}",
        title="Over words",
        alt="Weights over words, " + "; ".join(f"{name}: most on {word}" for name, word in peaks.items()) + ".",
        drawing=strips(curves, "" if len(names) <= MOST_TICKS else "word", "× equal share", reference=1,
                       ticks=names if len(names) <= MOST_TICKS else ()),
    )  # fmt: skip


def _over_pieces(weighed: Weighed, names: Sequence[str]) -> Chart:
    """The curves over numbers of pieces, where their characters are not known."""
    curves: dict[str, Curve] = {
        n: (list(range(1, len(w) + 1)), (w * len(w)).tolist()) for n in names for w in [weighed.weights[n]]
    }
    peaks = {name: int(np.argmax(weighed.weights[name])) + 1 for name in names}
    return Chart(
        name=f"over-pieces-{weighed.number}",
        title="Over word pieces",
        alt="Weights over word pieces, " + "; ".join(f"{n}: most on piece {i}" for n, i in peaks.items()) + ".",
        drawing=strips(curves, "word piece", "× equal share", reference=1),
    )


def _curve(weights: Array, rate: float) -> Curve:
    """Weights [T] as multiples of an equal share over time; of a long utterance the means of equal stretches."""
    edges = np.linspace(0, len(weights), min(len(weights), MOST_POINTS) + 1).round().astype(int)
    values = [float(weights[a:b].mean()) * len(weights) for a, b in pairwise(edges.tolist())]
    return ((edges[:-1] + edges[1:]) / 2 / rate).tolist(), values


def _loudness(energy: Any, seconds: float) -> Curve:
    edges = np.linspace(0, len(energy), min(len(energy), MOST_POINTS) + 1).round().astype(int)
    values = np.array([energy[a:b].mean() for a, b in pairwise(edges.tolist())])
    middles = (edges[:-1] + edges[1:]) / 2 / len(energy) * seconds
    return middles.tolist(), (values - values.min()).tolist()

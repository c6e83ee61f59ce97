"""What a model weighs over a test side: the modalities, the query tokens, the encoder's layers, and words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from emofuse.common.charts.bars import stacked_bars
from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.charts.palette import group_colours
from emofuse.common.page.blocks import Chart
from emofuse.train.inspection.open_fold import OpenFold
from emofuse.train.inspection.predicted_fold import Predicted
from emofuse.train.inspection.request import Spans
from emofuse.train.inspection.weight_hooks import Array, Observed, WeightHook
from emofuse.train.inspection.words import word_weights
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.trained_models import trained_models

PARTS = ("audio", "text")
MOST_WORDS, LEAST_OCCURRENCES = 15, 5


def overall_charts(fold: OpenFold, hooks: Sequence[WeightHook], observed: Observed) -> list[Chart]:
    """The charts of the weights over all utterances of an open fold."""
    charts = []
    for hook in hooks:
        if hook.over == "modalities":
            equal = _equal_attention(fold) if any(p.over == "tokens" for p in hooks) else None
            charts.append(_modality_chart(fold.tested, np.stack(observed.weights[hook.name]), equal))
        elif hook.over == "tokens":
            charts.append(_token_chart(np.mean(np.stack(observed.weights[hook.name]), axis=0), _equal_attention(fold)))
    return charts


def layer_charts(run: Run, fold: OpenFold) -> list[Chart]:
    """A chart for each feature whose layers are weighted: by the model, or by the front before it."""
    models = [m.model for m in trained_models(run)]
    charts = []
    for modality, features in fold.layers.items():
        for i, (name, layers) in enumerate(features):
            parameter = f"front.{modality}.layers.{i}" if fold.model.recipe.fronts else "w"
            if layers:
                found = [torch.softmax(model.get_parameter(parameter).detach(), 0) for model in models]
                charts.append(_layer_chart(name, torch.stack(found).numpy(), layers))
    return charts


def _layer_chart(feature: str, weights: Array, layers: Sequence[int]) -> Chart:
    """The softmax over an encoder's layers [models, L], of the models of all folds and seeds."""
    means, low, high = weights.mean(0).tolist(), weights.min(0).tolist(), weights.max(0).tolist()
    rows = [
        Bar(name=f"layer {n}", value=means[i], low=low[i], high=high[i], note=f"{means[i]:.1%}")
        for i, n in enumerate(layers)
    ]
    best = int(np.argmax(means))
    return Chart(
        name=f"layer-weights-{feature}",
        title=f"Weight of each encoder layer of {feature}",
        alt=f"Weights of {len(layers)} layers: most has layer {layers[best]}, {means[best]:.1%}; equal would be "
        f"{1 / len(layers):.1%}.",
        caption=f"The mean over {len(weights)} models, with lines from the least to the most. Dashed: equal weights.",
        drawing=intervals(rows, "weight", reference=1 / len(layers)),
    )


def word_chart(
    fold: OpenFold, name: str, weights: Sequence[Array], texts: Mapping[str, str], spans: Mapping[str, Spans]
) -> Chart | None:
    """The words with the most weight, over all their occurrences; None where no word occurs often enough.

    Args:
        fold: n utterances.
        name: Of the hook.
        weights: Of the pieces of each text [n].
        texts: Id -> text.
        spans: Id -> the characters of each piece.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for tested, of_pieces in zip(fold.tested, weights, strict=True):
        if tested.id in spans:
            for piece, times in word_weights(texts[tested.id], spans[tested.id], of_pieces.tolist())[0]:
                word = piece.strip(".,!?;:\"'()…").lower()
                if word.strip():
                    found[word].append(times)
    means = {word: float(np.mean(w)) for word, w in found.items() if len(w) >= LEAST_OCCURRENCES}
    best = sorted(means, key=lambda word: (-means[word], word))[:MOST_WORDS]
    if not best:
        return None
    return Chart(
        name="word-weights",
        title="Words with the most weight",
        alt=f"{len(best)} words by {name}; most has {best[0]}, {means[best[0]]:.1f} times an equal share.",
        caption=f"{name[0].upper()}{name[1:]}: the mean over the pieces of a word and over all its occurrences, of "
        f"words with at least {LEAST_OCCURRENCES}. Dashed: if all pieces of a text had equal weight.",
        drawing=intervals(
            [Bar(name=w, value=means[w], note=f"n {len(found[w])}") for w in best],
            "times an equal share",
            reference=1,
            limits=(0, 1.05 * max(1.0, means[best[0]])),
        ),
    )


def _modality_chart(tested: Sequence[Predicted], shares: Array, equal: tuple[float, float] | None) -> Chart:
    """Shares [n, 2] of audio and text: of all utterances, of each class, and by outcome."""
    groups: dict[str, list[bool]] = {"all": [True] * len(tested)}
    for name in dict.fromkeys(sorted(t.label for t in tested)):
        groups[name] = [t.label == name for t in tested]
    groups["right"], groups["wrong"] = [t.right for t in tested], [not t.right for t in tested]
    means = {name: shares[np.array(of)].mean(0).tolist() for name, of in groups.items() if any(of)}
    if equal is not None:
        means["if all equal"] = list(equal)
    spread = shares[:, 0].std()
    parts = {part: [values[i] for values in means.values()] for i, part in enumerate(PARTS)}
    return Chart(
        name="modality-weights",
        title="Weight of each modality",
        alt="Share of audio: " + ", ".join(f"{name} {values[0]:.0%}" for name, values in means.items()) + ".",
        caption=f"The mean over utterances; over all, audio has {means['all'][0]:.1%} with a standard deviation of "
        f"{spread:.1%}." + ("" if equal is None else " Audio has more frames than text has pieces: the last row is "
        "what it would have if all were read equally."),
        drawing=stacked_bars(list(means), parts, group_colours(PARTS), "share of the weight"),
    )  # fmt: skip


def _token_chart(shares: Array, equal: tuple[float, float]) -> Chart:
    """Shares [L, 2] of each query token, those that read most audio first."""
    order = np.argsort(-shares[:, 0], kind="stable").tolist()
    names = [f"token {i + 1}" for i in order]
    parts = {part: shares[order, k].tolist() for k, part in enumerate(PARTS)}
    most, least = float(shares[:, 0].max()), float(shares[:, 0].min())
    return Chart(
        name="token-weights",
        title="What each query token reads",
        alt=f"{len(order)} query tokens: audio has from {least:.0%} to {most:.0%} of their attention.",
        caption=f"The mean over utterances. If all frames and pieces were read equally, audio would have "
        f"{equal[0]:.0%}.",
        drawing=stacked_bars(names, parts, group_colours(PARTS), "share of the attention"),
    )


def _equal_attention(fold: OpenFold) -> tuple[float, float]:
    """The mean share of frames of audio and of pieces of text among both."""
    frames, pieces = (fold.data.modalities[m].lengths.numpy().astype(float) for m in PARTS)
    audio = float(np.mean(frames / (frames + pieces)))
    return audio, 1 - audio

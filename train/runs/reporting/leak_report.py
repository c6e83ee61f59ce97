"""What the test sides share with training, in metrics.json, on the console and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.console import plural, printable
from emofuse.manifests.metrics.scores import mean_and_deviation, scores
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.reporting.score_text import score

SHOWN, FOLDS_SHOWN = 5, 10
"""How many pairs of nearly the same audio are listed, and how many folds the header."""
Labels = NDArray[np.int64]


def shared_with_training(
    plan: FitPlan, ids: Sequence[str], labels: Labels, predictions: Labels | None
) -> dict[str, Any]:
    """The keys of metrics.json on what the test sides share with training; each only where there is something.

    Args:
        ids: Of the tested utterances.
        labels: Their class numbers [n].
        predictions: Their predicted class numbers [n], or [S, n] of S seeds, whose scores are averaged; None without
            one class an utterance.
    """
    found: dict[str, Any] = {
        "duplicate_audio": [asdict(clip) for clip in plan.shared.clips],
        **near_duplicates(plan),
        "class_gaps": [
            {"fold": gaps.fold, "untrained": list(gaps.untrained), "untested": list(gaps.untested)}
            for gaps in plan.shared.class_gaps
        ],
        "repeated_texts": _repeated_texts(plan, ids, labels, predictions),
    }
    return {key: value for key, value in found.items() if value}


def _repeated_texts(plan: FitPlan, ids: Sequence[str], labels: Labels, predictions: Labels | None) -> dict[str, Any]:
    """How many test texts are also on the training side, and the scores on those and on the others."""
    text_of = plan.shared.text_of
    repeated = np.array([text_of.get(id, False) for id in ids], bool)
    others = np.array([id in text_of for id in ids], bool) & ~repeated
    if not repeated.any() and not others.any():
        return {}
    return {
        "test_texts": int(repeated.sum() + others.sum()),
        "repeated": int(repeated.sum()),
        "folds": [
            {"fold": number, "test_texts": len(texts), "repeated": sum(texts.values())}
            for number, texts in plan.shared.texts.items()
        ],
        "scores": {
            "repeated": _subset_scores(labels, predictions, repeated),
            "others": _subset_scores(labels, predictions, others),
        },
    }


def _subset_scores(
    labels: Labels, predictions: Labels | None, chosen: NDArray[np.bool_]
) -> Mapping[str, float | None] | None:
    """Pooled scores on some of the utterances, the mean over seeds; None without utterances or classes."""
    if predictions is None or not chosen.any():
        return None
    return mean_and_deviation([scores(labels[chosen], one[chosen]) for one in np.atleast_2d(predictions)])[0]


def near_duplicates(plan: FitPlan) -> dict[str, Any]:
    """The keys of metrics.json on nearly the same audio; they may be empty."""
    return {
        "near_duplicates": [asdict(pair) for pair in plan.shared.near_duplicates],
        "near_duplicates_unsearched": plan.shared.unsearched,
    }


def near_duplicate_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The pairs whose audio is nearly the same, or why they were not looked for; empty where none was found."""
    if reason := metrics.get("near_duplicates_unsearched"):
        return [f"copies of audio at another gain, cut or encoding were not looked for: {reason}"]
    pairs = metrics.get("near_duplicates", ())
    if not pairs:
        return []
    shown = [f"{p['test']} ~ {p['other']} ({p['correlation']:.2f}, fold {p['fold']})" for p in pairs[:SHOWN]]
    listed = ", ".join([*shown, "..."] if len(pairs) > SHOWN else shown)
    line = f"nearly the same audio in test and training, {plural(len(pairs), 'pair')}; see if they are copies: {listed}"
    return [printable(line, 400)]


def texts_line(plan: FitPlan) -> list[str]:
    """How many test texts are also on the training side of their fold; empty for a corpus without texts."""
    counts = [(number, sum(texts.values()), len(texts)) for number, texts in plan.shared.texts.items() if texts]
    if not counts:
        return []
    repeated, total = sum(n for _, n, _ in counts), sum(n for _, _, n in counts)
    each = [f"{number} {n}/{of}" for number, n, of in counts[:FOLDS_SHOWN]] + ["..."] * (len(counts) > FOLDS_SHOWN)
    by_fold = f" (by fold: {', '.join(each)})" if len(counts) > 1 and repeated else ""
    spoken = "; models of audio can learn them too" if repeated and "text" not in plan.features else ""
    return [f"texts     {repeated} of {total} test texts are also on the training side{by_fold}{spoken}"]


def text_rows(metrics: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, int, list[str]]]:
    """Pooled scores on test texts that are also on the training side, and on the others: label, number, cells."""
    texts = metrics.get("repeated_texts")
    if texts is None or not texts["repeated"]:
        return []
    counts = {"repeated": texts["repeated"], "others": texts["test_texts"] - texts["repeated"]}
    labels = {"repeated": "texts also in training", "others": "texts not in training"}
    return [
        (labels[kind], counts[kind], [score(values.get(n)) for n in names])
        for kind, values in texts["scores"].items()
        if values
    ]


def uneven_classes(metrics: Mapping[str, Any]) -> list[str]:
    """What test sides without every class do to the mean over folds; empty where all have every class."""
    gaps, classes = metrics.get("class_gaps", []), len(metrics["classes"])
    fewest = classes - max((len(fold["untested"]) for fold in gaps), default=0)
    untrained = [f"{name} in fold {fold['fold']}" for fold in gaps for name in fold["untrained"]]
    lines = [f"never trained, so its recall counts as 0: {', '.join(untrained)}"] if untrained else []
    if fewest < classes:
        lines.append(
            f"UA of a fold is over the classes of its test side, here {fewest} to {classes} of {classes}: the mean "
            f"over folds, {metrics['mean']['ua']:.3f}, weighs classes unevenly; the pooled UA, "
            f"{metrics['pooled']['ua']:.3f}, is over all that are tested"
        )
    return lines

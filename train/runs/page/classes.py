"""How well classes are distinguished: the confusion matrix, and precision, recall and F1 of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from emofuse.common.charts.dots import dots
from emofuse.common.charts.drawing import Drawing
from emofuse.common.charts.matrix import matrix
from emofuse.common.page.blocks import Chart, Choice, ClassName, Column, Section, Table, Width
from emofuse.manifests.targets.target import LABEL_SEPARATOR
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.score_text import score

FEW, MANY = 9, 14
"""Up to so many classes a confusion matrix is a narrow block; with more than `MANY`, empty cells are not drawn."""

SERIES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def classes_section(record: RunRecord) -> Section:
    """The confusion matrix with a switch, and the table and the chart of classes."""
    metrics = record.metrics
    has_matrix = bool(metrics["confusion"])
    blocks: list[Any] = [_confusion_choice(record)] if has_matrix else []
    if metrics.get("per_class"):
        blocks += [_table(record), _chart(record)]
    lead = "In the confusion matrix, rows are labels and columns predictions."
    if not has_matrix:
        lead = "An utterance may have several labels: each is scored against all others."
    elif record.seeds > 1:
        lead += f" Its counts are sums over the {record.seeds} seeds; the other figures are means over them."
    return Section(name="classes", title="Classes", lead=lead, blocks=blocks)


def confusion_drawing(metrics: Any, *, shares: bool) -> Drawing:
    """The confusion matrix: the share of each label's utterances, or their counts."""
    counts, classes = np.array(metrics["confusion"]), metrics["classes"]
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    values = np.where(counts > 0, share, np.nan) if len(classes) > MANY else share
    texts = np.array(
        [
            [f"{100 * s:.0f}" if shares else str(n) for s, n in zip(*of, strict=True)]
            for of in zip(share, counts, strict=True)
        ]
    )
    return matrix(values, classes, classes, texts=texts)


def _confusion_choice(record: RunRecord) -> Choice:
    metrics, classes = record.metrics, record.metrics["classes"]
    width: Width = "narrow" if len(classes) <= FEW else "full" if len(classes) > 2 * FEW else "wide"
    alt = f"Confusion matrix of {len(classes)} classes. {_alt(record)}"
    options = [
        (
            label,
            Chart(
                name=f"confusion-{name}",
                title=title,
                alt=alt,
                width=width,
                drawing=confusion_drawing(metrics, shares=shares),
            ),
        )
        for label, name, title, shares in (
            ("Percent of the label", "shares", "Percent of each label's utterances", True),
            ("Counts", "counts", "Utterances; the colour is their share of the label", False),
        )
    ]
    return Choice(name="confusion", title="Confusion", width=width, options=options)


def _alt(record: RunRecord) -> str:
    """The most frequent confusion, in words."""
    counts, classes = np.array(record.metrics["confusion"]), record.metrics["classes"]
    wrong = counts - np.diag(np.diag(counts))
    if not wrong.any():
        return "Nothing is confused."
    i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return f"Most often confused: {classes[i]} predicted as {classes[j]}, {wrong[i, j]} of {counts[i].sum()}."


def _predicted_counts(record: RunRecord) -> list[int]:
    """How often each label is predicted, over all seeds."""
    found = Counter(name for row in record.predictions for name in row["prediction"].split(LABEL_SEPARATOR))
    return [found[name] for name in record.metrics["classes"]]


def _chart(record: RunRecord) -> Chart:
    found = record.metrics["per_class"]
    f1 = {c: v["f1"] or 0.0 for c, v in found.items()}
    ordered = sorted(f1, key=lambda c: -f1[c])
    series = {name: [found[c][key] for c in ordered] for key, name in SERIES.items()}
    return Chart(
        name="class-scores",
        title="Classes by F1",
        alt=f"Precision, recall and F1 of {len(f1)} classes; F1 from {_worst(f1)} to {score(f1[ordered[0]])}.",
        drawing=dots(
            ordered, series, "score", notes=[f"n {found[c]['support']}" for c in ordered], limits=(-0.03, 1.03)
        ),
    )


def _worst(f1: Mapping[str, float]) -> str:
    name = min(f1, key=lambda c: f1[c])
    return f"{score(f1[name])} ({name})"


def _table(record: RunRecord) -> Table:
    metrics = record.metrics
    counts = np.array(metrics["confusion"]).sum(0).tolist() if metrics["confusion"] else _predicted_counts(record)
    predicted = dict(zip(metrics["classes"], counts, strict=True))
    rows = [
        [
            ClassName(name=c),
            v["support"],
            *(score(v[key]) for key in ("precision", "recall", "f1")),
            round(predicted[c] / record.seeds, 1),
        ]
        for c, v in metrics["per_class"].items()
    ]
    never = [c for c, n in predicted.items() if not n]
    columns = [
        Column(name="class"),
        Column(name="n", help="Test utterances with this label"),
        Column(name="precision", help="Of those predicted as this class, how many are"),
        Column(name="recall", help="Of those that are this class, how many are predicted so"),
        Column(name="F1", help="The harmonic mean of both"),
        Column(name="predicted", help="How often it is predicted, mean over seeds", decimals=0),
    ]
    caption = f"Never predicted: {', '.join(never)}." if never else ""
    width: Width = "wide" if len(rows) <= FEW else "full"
    return Table(
        name="per-class", title="Precision, recall and F1", columns=columns, rows=rows, caption=caption, width=width
    )

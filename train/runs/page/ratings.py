"""How near predicted ratings and shares are to the raters': a table and a chart of each dimension or class."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.dots import dots
from emofuse.common.charts.matrix import matrix
from emofuse.common.page.blocks import Chart, Column, Section, Table
from emofuse.manifests.metrics.scores import OF_DIMENSIONS, definition, short_name
from emofuse.train.fitting.scoring.prediction_table import PREDICTED, PROBABILITY, RATED
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.score_text import score

CELLS = 9
"""How many parts each axis of a chart of ratings has."""


def ratings_sections(record: RunRecord) -> list[Section]:
    """The section of the ratings, or of the raters' shares; none for another target."""
    target = target_of(record.metrics)
    if target.dimensions:
        blocks: list[Any] = [_dimensions_table(record)]
        blocks += [_dimension_chart(record, d.name, d.low, d.high) for d in target.dimensions]
        lead = "Rows of the charts are rated values, columns predicted ones: a perfect model is on the diagonal."
        return [Section(name="ratings", title="Ratings", lead=lead, blocks=blocks)]
    if target.kind == "distribution":
        lead = "The mean share of the raters and of the model: equal means say that no class is over-predicted."
        return [Section(name="shares", title="Raters' shares", lead=lead, blocks=[_shares_chart(record)])]
    return []


def _dimensions_table(record: RunRecord) -> Table:
    metrics = record.metrics
    rows = []
    for dimension in target_of(metrics).dimensions:
        names = [f"{measure}_{dimension.name}" for measure in OF_DIMENSIONS]
        rated, predicted = (_column(record, f"{start}{dimension.name}") for start in (RATED, PREDICTED))
        moments = [f"{values.mean():.2f} ± {values.std():.2f}" for values in (rated, predicted)]
        rows.append([dimension.name, f"{dimension.low:g} to {dimension.high:g}", *moments])
        rows[-1] += [_with_interval(record, name) for name in names]
    measures = [Column(name=short_name(measure), help=definition(measure)) for measure in OF_DIMENSIONS]
    columns = [Column(name=name) for name in ("dimension", "scale", "raters", "predicted")]
    return Table(
        name="dimensions",
        title="Each dimension, all test predictions pooled",
        columns=[*columns, *measures],
        rows=rows,
        caption="Raters and predicted: mean and deviation over utterances. In brackets the 95 % interval.",
    )


def _with_interval(record: RunRecord, name: str) -> str:
    interval = record.metrics["interval"].get(name)
    value = score(record.metrics["pooled"].get(name))
    return f"{value} ({interval[0]:.3f} to {interval[1]:.3f})" if interval else value


def _dimension_chart(record: RunRecord, name: str, low: float, high: float) -> Chart:
    """How often each rating is predicted as each other one; from the highest rating down."""
    edges = np.linspace(low, high, CELLS + 1)
    rated, predicted = (_column(record, f"{start}{name}") for start in (RATED, PREDICTED))
    counts = np.histogram2d(rated, predicted, bins=[edges, edges])[0][::-1]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    labels = [f"{(a + b) / 2:.1f}" for a, b in pairwise(edges.tolist())]
    texts = np.array([[f"{100 * s:.0f}" if s else "" for s in row] for row in shares])
    ccc = score(record.metrics["pooled"].get(f"ccc_{name}"))
    return Chart(
        name=f"ratings-{name}",
        title=f"{name}: percent of the utterances with each rating",
        alt=f"Predicted against rated {name}; CCC {ccc}.",
        drawing=matrix(
            np.where(counts > 0, shares, np.nan), labels[::-1], labels, texts=texts, axes_labels=("rated", "predicted")
        ),
    )


def _shares_chart(record: RunRecord) -> Chart:
    classes = record.metrics["classes"]
    rated, predicted = (
        {c: float(_column(record, f"{start}{c}").mean()) for c in classes} for start in (RATED, PROBABILITY)
    )
    ordered = sorted(classes, key=lambda c: -rated[c])
    series = {"raters": [rated[c] for c in ordered], "predicted": [predicted[c] for c in ordered]}
    largest = max(classes, key=lambda c: abs(rated[c] - predicted[c]))
    return Chart(
        name="shares",
        title="Mean share of each class",
        alt=f"Largest difference: {largest}, raters {rated[largest]:.2f}, predicted {predicted[largest]:.2f}.",
        drawing=dots(ordered, series, "share", limits=(-0.03, 1.03)),
    )


def _column(record: RunRecord, name: str) -> NDArray[np.float64]:
    return np.array([float(row[name]) for row in record.predictions])

"""In which classes each run is better."""

from __future__ import annotations

from typing import Any

import numpy as np

from emofuse.common.charts.dots import dots
from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.page.blocks import Cell, Chart, Choice, ClassName, Column, PagedTable, Section, Table
from emofuse.train.comparison.comparison import PairComparison
from emofuse.train.comparison.comparison_tables import points, points_interval
from emofuse.train.comparison.page.record import MOST_CHOICES, MOST_ROWS_SHOWN, ComparisonRecord
from emofuse.train.comparison.statistics.resampled_scores import ClassDifference, ClassScores, class_differences
from emofuse.train.runs.reporting.score_text import score

_SCORES = {"recall": "Recall", "f1": "F1"}


def classes_section(record: ComparisonRecord) -> Section:
    """Recall and F1 of each class: of each run, and the differences of pairs."""
    charts = [(title, _dots(record, name)) for name, title in _SCORES.items()]
    blocks: list[Any] = [Choice(name="class-scores", title="Scores of each class", options=charts)]
    pairs = record.comparison.pairs[:MOST_CHOICES]
    found = [_differences_chart(record, pair, number) for number, pair in enumerate(pairs)]
    if len(found) > 1:
        options = [(record.short(pair), chart) for pair, chart in zip(pairs, found, strict=True)]
        blocks.append(Choice(name="class-differences", title="Differences in recall", options=options))
    else:
        blocks += found
    blocks.append(_table(record))
    return Section(
        name="classes",
        title="Classes",
        lead="The intervals are not corrected for the number of classes: they show where to look, and prove nothing.",
        blocks=blocks,
    )


def _of_runs(record: ComparisonRecord, name: str) -> list[ClassScores]:
    return [scores.recall if name == "recall" else scores.f1 for scores in record.scores]


def _dots(record: ComparisonRecord, name: str) -> Chart:
    series = {
        legend: [float(v) if np.isfinite(v) else None for v in scores.observed]
        for legend, scores in zip(record.legend, _of_runs(record, name), strict=True)
    }
    counts = np.bincount(record.labels, minlength=len(record.classes))
    of_runs = list(zip(record.letters, series.values(), strict=True))
    listed = "; ".join(
        f"{c}: {', '.join(f'{letter} {score(values[i])}' for letter, values in of_runs)}"
        for i, c in enumerate(record.classes)
    )
    return Chart(
        name=f"class-{name}",
        title=f"{_SCORES[name]} of each class",
        alt=f"{_SCORES[name]} of each class and run. {listed}.",
        caption="n: test utterances of the class.",
        drawing=dots(
            record.classes,
            series,
            _SCORES[name],
            notes=[f"n {n}" for n in counts],
        ),
    )


def _recall_differences(record: ComparisonRecord, pair: PairComparison, name: str) -> list[ClassDifference | None]:
    scores = _of_runs(record, name)
    first, second = record.numbers(pair)
    return class_differences(scores[first], scores[second])


def _differences_chart(record: ComparisonRecord, pair: PairComparison, number: int) -> Chart:
    rows = []
    for c, found in zip(record.classes, _recall_differences(record, pair, "recall"), strict=True):
        if found is not None:
            low, high = found.interval
            rows.append(Bar(name=c, value=100 * found.value, low=100 * low, high=100 * high, note=points(found.value)))
    listed = "; ".join(f"{r.name} {r.value:+.1f} ({r.low:.1f} to {r.high:.1f})" for r in rows)
    return Chart(
        name=f"class-difference-{number + 1}",
        title=f"Difference in recall, {record.short(pair)}",
        alt=f"Recall of {pair.first} minus {pair.second} in points, with 95 % intervals: {listed}.",
        caption="Lines are 95 % intervals; right of 0 the first run is better.",
        drawing=intervals(rows, "points, first minus second", reference=0.0),
    )


def _table(record: ComparisonRecord) -> Table | PagedTable:
    counts = np.bincount(record.labels, minlength=len(record.classes))
    rows: list[list[Cell]] = []
    for pair in record.comparison.pairs:
        first, second = record.numbers(pair)
        recall = _of_runs(record, "recall")
        both = (_recall_differences(record, pair, name) for name in _SCORES)
        for i, differences in enumerate(zip(*both, strict=True)):
            scores = [score(float(v)) if np.isfinite(v := recall[run].observed[i]) else "-" for run in (first, second)]
            cells = [cell for found in differences for cell in _cells(found)]
            rows.append([record.short(pair), ClassName(name=record.classes[i]), int(counts[i]), *scores, *cells])
    names = ("pair", "class", "n", "recall first", "recall second", "recall difference", "recall 95 %")
    kind = Table if len(rows) <= MOST_ROWS_SHOWN else PagedTable
    return kind(
        name="classes-table",
        title="Differences of each class, in points",
        columns=[Column(name=n, filter=n in ("pair", "class")) for n in (*names, "F1 difference", "F1 95 %")],
        rows=rows,
    )


def _cells(found: ClassDifference | None) -> list[str]:
    return ["-", "-"] if found is None else [points(found.value), points_interval(found.interval)]

"""Where the runs are right and wrong together, and which confusions differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.bars import stacked_bars
from emofuse.common.charts.matrix import matrix
from emofuse.common.charts.palette import GREY, group_colours
from emofuse.common.page.blocks import Cell, Chart, Choice, ClassName, Column, Section, Table
from emofuse.manifests.metrics.scores import NO_PREDICTION
from emofuse.train.comparison.comparison import PairComparison
from emofuse.train.comparison.page.record import MOST_CHOICES, ComparisonRecord
from emofuse.train.comparison.statistics.paired_scores import PairedPredictions

_COLOURS = group_colours(("only first", "only second", "both right")) | {"both wrong": GREY}
"""Those of the first and of the second run are theirs in other charts too."""
PARTS = ("both right", "only first", "only second", "both wrong")
MOST_PAIRS, MOST_CLASSES, MOST_CONFUSIONS = 30, 14, 20
"""How many pairs a chart shows; up to how many classes a matrix is readable; how many confusions a table lists."""
Counts = NDArray[np.float64]


def agreement_section(record: ComparisonRecord) -> Section:
    """Right and wrong together for each pair, equal predictions, and the difference of confusions."""
    counts = [together(record.predictions(pair)) for pair in record.comparison.pairs]
    blocks: list[Any] = [_bars(record, counts)]
    if len(record.runs) > 2:
        blocks.append(_equal_predictions(record))
    blocks += _confusions(record)
    blocks.append(_table(record, counts))
    lead = "Two equally good runs may be right on different utterances: then a fusion of both may gain."
    return Section(name="agreement", title="Agreement", lead=lead, blocks=blocks)


def together(pair: PairedPredictions) -> Counts:
    """How many utterances both runs have right, only the first, only the second, and neither [4]; mean over seeds."""
    found = []
    for first, second in pair.seed_pairs():
        a, b = first.predicted == first.labels, second.predicted == second.labels
        found.append([(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()])
    return np.asarray(np.mean(found, axis=0))


def _bars(record: ComparisonRecord, counts: list[Counts]) -> Chart:
    pairs = record.comparison.pairs[:MOST_PAIRS]
    shares = [100 * c / record.comparison.utterances for c in counts[: len(pairs)]]
    listed = "; ".join(
        f"{record.short(pair)}: {', '.join(f'{part} {of_pair[i]:.0f} %' for i, part in enumerate(PARTS))}"
        for pair, of_pair in zip(pairs, shares, strict=True)
    )
    some = f" The first {MOST_PAIRS} pairs of {len(counts)}." if len(counts) > MOST_PAIRS else ""
    return Chart(
        name="right-together",
        title="Right and wrong together",
        alt=f"Share of the utterances. {listed}.",
        caption=f"Percent of the test utterances{_over_seeds(record)}.{some}",
        drawing=stacked_bars(
            [record.short(pair) for pair in pairs],
            {part: [float(of_pair[i]) for of_pair in shares] for i, part in enumerate(PARTS)},
            _COLOURS,
            "% of utterances",
        ),
    )


def _over_seeds(record: ComparisonRecord) -> str:
    return ", mean over seeds" if any(len(run.seeds) > 1 for run in record.runs) else ""


def _equal_predictions(record: ComparisonRecord) -> Chart:
    """The share of equal predictions of any two runs."""
    count = len(record.runs)
    shares = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i):
            pair = PairedPredictions(first=record.runs[i].by_seed(), second=record.runs[j].by_seed())
            shares[i, j] = np.mean([np.mean(a.predicted == b.predicted) for a, b in pair.seed_pairs()])
    texts = np.array([[f"{100 * v:.0f}" if np.isfinite(v) else "" for v in row] for row in shares])
    lowest, highest = np.nanmin(shares), np.nanmax(shares)
    letters = record.letters
    return Chart(
        name="equal-predictions",
        title="Equal predictions, %",
        alt=f"Share of equal predictions of any two runs: {100 * lowest:.0f} to {100 * highest:.0f} %.",
        caption="Percent of the test utterances to which two runs give the same class.",
        drawing=matrix(shares[1:, :-1], letters[1:], letters[:-1], texts=texts[1:, :-1], axes_labels=("run", "run")),
    )


def _confusions(record: ComparisonRecord) -> list[Any]:
    """For each pair the difference of the confusion matrices; of many classes the largest differences as a table."""
    pairs = record.comparison.pairs[:MOST_CHOICES]
    if len(record.classes) > MOST_CLASSES:
        return [_largest_confusions(record)]
    charts = [(record.short(pair), _confusion_chart(record, pair, number)) for number, pair in enumerate(pairs)]
    title = "Confusion, first minus second"
    return [charts[0][1]] if len(charts) == 1 else [Choice(name="confusions", title=title, options=charts)]


def _confusion(record: ComparisonRecord, number: int) -> Counts:
    """The confusion matrix of a run [C, C], mean over seeds; utterances without a prediction are left out."""
    count, run = len(record.classes), record.runs[number]
    found = []
    for seed in run.predictions:
        known = seed != NO_PREDICTION
        cells = record.labels[known] * count + seed[known]
        found.append(np.bincount(cells, minlength=count * count).reshape(count, count))
    return np.asarray(np.mean(found, axis=0))


def _confusion_chart(record: ComparisonRecord, pair: PairComparison, number: int) -> Chart:
    first, second = (_confusion(record, i) for i in record.numbers(pair))
    found = first - second
    whole = np.allclose(found, np.round(found))
    texts = np.array([[f"{v:+.0f}" if whole else f"{v:+.1f}" if v else "0" for v in row] for row in found])
    texts[found == 0] = "0"
    gains = [f"{c} {texts[i, i]}" for i, c in enumerate(record.classes)]
    return Chart(
        name=f"confusion-{number + 1}",
        title=f"Confusion, {record.short(pair)}",
        alt=f"Counts of {pair.first} minus {pair.second}. Right predictions by class: {', '.join(gains)}.",
        caption=f"Utterances{_over_seeds(record)}. Plus: the first run does it more often. On the "
        "diagonal that is a gain, elsewhere an error.",
        drawing=matrix(
            found,
            record.classes,
            record.classes,
            texts=texts,
            scale=(0.0, max(1.0, float(np.abs(found).max()))),
            signed=True,
        ),
    )


def _largest_confusions(record: ComparisonRecord) -> Table:
    found: list[tuple[float, list[Cell]]] = []
    for pair in record.comparison.pairs:
        first, second = (_confusion(record, i) for i in record.numbers(pair))
        for i, j in zip(*np.nonzero(first - second), strict=True):
            label, prediction = (ClassName(name=record.classes[k]) for k in (i, j))
            counts = [float(first[i, j]), float(second[i, j]), float(first[i, j] - second[i, j])]
            found.append((abs(counts[2]), [record.short(pair), label, prediction, *counts]))
    found.sort(key=lambda item: -item[0])
    return Table(
        name="confusions",
        title=f"The {MOST_CONFUSIONS} largest differences in confusion",
        columns=[
            Column(name="pair"), Column(name="label"), Column(name="prediction"), Column(name="first", decimals=1),
            Column(name="second", decimals=1), Column(name="difference", decimals=1),
        ],
        rows=[row for _, row in found[:MOST_CONFUSIONS]],
        caption=f"Utterances{_over_seeds(record)}.",
    )  # fmt: skip


def _table(record: ComparisonRecord, counts: list[Counts]) -> Table:
    decimals = 1 if _over_seeds(record) else 0
    rows: list[list[Cell]] = []
    for pair, of_pair in zip(record.comparison.pairs, counts, strict=True):
        equal = [float(np.mean(a.predicted == b.predicted)) for a, b in record.predictions(pair).seed_pairs()]
        rows.append([record.short(pair), *of_pair.tolist(), 100 * float(np.mean(equal))])
    return Table(
        name="agreement-table",
        title="Utterances that two runs have right and wrong",
        columns=[
            Column(name="pair"),
            *(Column(name=part, decimals=decimals) for part in PARTS),
            Column(name="same prediction, %", decimals=1),
        ],
        rows=rows,
        caption=_counts_line(record),
    )


def _counts_line(record: ComparisonRecord) -> str:
    if not _over_seeds(record):
        return "McNemar's test of these counts is below, under Statistics."
    return (
        "Counts are means over all pairs of seeds. McNemar's test, under Statistics, is of one pair of seeds, so its "
        "counts differ."
    )

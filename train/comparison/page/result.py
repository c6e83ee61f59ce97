"""The top of the page: whether there is a difference, in words and as intervals, and the scores of the runs."""

from __future__ import annotations

from typing import Any

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.output.console import plural
from emofuse.common.page.blocks import (
    Cell,
    Chart,
    Choice,
    Column,
    Details,
    Facts,
    Headline,
    Link,
    Section,
    Table,
    Text,
    Warnings,
)
from emofuse.manifests.metrics.scores import short_name
from emofuse.train.comparison.page.record import ComparisonRecord
from emofuse.train.comparison.sentences import sentence, warnings
from emofuse.train.comparison.statistics.paired_tests import ALPHA
from emofuse.train.runs.page.protocol_words import held_out
from emofuse.train.runs.reporting.score_text import p_text, score

MOST_ROWS, MOST_SENTENCES = 60, 10
"""How many pairs a chart shows; sentences of more pairs than this are folded away."""


def result_section(record: ComparisonRecord) -> Section:
    """The headline, the warnings, what was tested, and every score and difference."""
    comparison = record.comparison
    blocks: list[Any] = [_headline(record)]
    if found := warnings(comparison):
        blocks.append(Warnings(lines=found))
    if len(comparison.pairs) > 1:
        words = Text(lines=[f"{sentence(pair, comparison)}." for pair in comparison.pairs])
        folded = Details(title=f"The {len(comparison.pairs)} pairs in words", blocks=[words])
        blocks.append(folded if len(comparison.pairs) > MOST_SENTENCES else words)
    blocks += [_what_was_tested(record), _facts(record), _forest(record), _scores_chart(record), _scores_table(record)]
    return Section(name="result", title="Result", blocks=blocks)


def _headline(record: ComparisonRecord) -> Headline:
    comparison = record.comparison
    metric, pairs = comparison.metrics[0], comparison.pairs
    differing = [pair for pair in pairs if pair.differences[metric].corrected_p < ALPHA]
    tested = plural(comparison.utterances, "test utterance")
    if len(pairs) > 1:
        answer = f"{len(differing)} of {len(pairs)} pairs differ" if differing else _no_difference(record)
        label = f"{short_name(metric)}, {len(comparison.runs)} runs on {tested}"
        return Headline(value=answer, label=label, meaning=f"{_what_decides(record)} Each pair in words is below.")
    (pair,) = pairs
    return Headline(
        value="The two runs differ" if differing else _no_difference(record),
        label=f"{short_name(metric)}, {pair.first} minus {pair.second}, on {tested}",
        meaning=f"{sentence(pair, comparison)}. {_what_decides(record)}",
    )


def _no_difference(record: ComparisonRecord) -> str:
    if all((run.predictions == record.runs[0].predictions[:1]).all() for run in record.runs):
        return "Equal predictions"
    possible = record.comparison.smallest_p < ALPHA
    return "No difference is shown" if possible else "No difference can be shown"


def _what_decides(record: ComparisonRecord) -> str:
    comparison = record.comparison
    holm = " after Holm's correction over the pairs" if len(comparison.pairs) > 1 else ""
    return (
        f"A difference is one with p below {ALPHA:g}{holm}, in a permutation test that exchanges the predictions of "
        f"whole {comparison.units.kind}s."
    )


def _facts(record: ComparisonRecord) -> Facts:
    comparison, first = record.comparison, record.runs[0]
    facts = [
        ("Protocol", comparison.protocol),
        ("Test utterances", f"{comparison.utterances:,}"),
        ("Classes", str(len(record.classes))),
        ("Folds", str(len(set(first.folds.tolist())))),
        ("Units", comparison.units.description),
        ("Runs", str(len(record.runs))),
    ]
    return Facts(facts=facts)


def _what_was_tested(record: ComparisonRecord) -> Text:
    run = record.runs[0]
    source = run.protocol.get("source")
    lines = [f"{record.comparison.protocol}: {source}."] if source else []
    about = run.run.metrics.get("evaluation")
    if about:
        return Text(lines=[*lines, f"Nothing was trained: the runs were evaluated on {about['evaluated_on']}."])
    return Text(lines=[" ".join([*lines, *held_out(run.protocol)])])


def _forest(record: ComparisonRecord) -> Chart | Choice:
    """The differences with intervals: of one pair all metrics, else all pairs, metric by metric."""
    comparison = record.comparison
    if len(comparison.pairs) == 1:
        rows = [_bar(record, 0, metric, short_name(metric)) for metric in comparison.metrics]
        return _forest_chart(record, "differences", f"Differences, {record.short(comparison.pairs[0])}", rows)
    shown = range(min(len(comparison.pairs), MOST_ROWS))
    charts = []
    for metric in comparison.metrics:
        rows = [_bar(record, i, metric, record.short(comparison.pairs[i])) for i in shown]
        name, file = short_name(metric), f"differences-{metric.replace('_', '-')}"
        charts.append((name, _forest_chart(record, file, f"Differences in {name}", rows)))
    return Choice(name="forest", title="Differences of each pair", options=charts)


def _bar(record: ComparisonRecord, pair: int, metric: str, name: str) -> Bar:
    found = record.comparison.pairs[pair].differences[metric]
    low, high = found.interval
    p = p_text(found.corrected_p)
    return Bar(
        name=name,
        value=100 * found.value,
        low=100 * low,
        high=100 * high,
        note=f"{p} *" if found.corrected_p < ALPHA else p,
    )


def _forest_chart(record: ComparisonRecord, name: str, title: str, rows: list[Bar]) -> Chart:
    listed = "; ".join(f"{r.name} {r.value:+.1f} ({r.low:.1f} to {r.high:.1f}), {r.note}" for r in rows)
    holm = ", with Holm's correction" if len(record.comparison.pairs) > 1 else ""
    some = f" The first {MOST_ROWS} pairs of {len(record.comparison.pairs)}." if len(rows) == MOST_ROWS else ""
    return Chart(
        name=name,
        title=title,
        alt=f"Differences in points, first minus second, with 95 % intervals: {listed}.",
        caption=f"Lines are 95 % intervals; right of 0 the first run is better. "
        f"p of the permutation test{holm}; * is below {ALPHA:g}.{some}",
        drawing=intervals(rows, "points, first minus second", reference=0.0),
    )


def _scores_chart(record: ComparisonRecord) -> Choice | Chart:
    charts = []
    for metric in record.comparison.metrics:
        rows = []
        for number, run in enumerate(record.comparison.runs):
            low, high = record.scores[number].intervals[metric]
            rows.append(
                Bar(
                    name=record.legend[number],
                    value=run.scores[metric],
                    low=low,
                    high=high,
                    note=score(run.scores[metric]),
                )
            )
        name = short_name(metric)
        listed = "; ".join(f"{r.name} {r.note} ({score(r.low)} to {score(r.high)})" for r in rows)
        chart = Chart(
            name=f"scores-{metric.replace('_', '-')}",
            title=f"{name} of each run",
            alt=f"{name} with 95 % intervals: {listed}.",
            caption="Lines are 95 % intervals. Those of two scores may overlap although the runs differ: the "
            "differences are tested.",
            drawing=intervals(rows, name),
        )
        charts.append((name, chart))
    return Choice(name="score-charts", title="Scores of the runs", options=charts) if len(charts) > 1 else charts[0][1]


def _scores_table(record: ComparisonRecord) -> Table:
    comparison = record.comparison
    columns = [Column(name="letter"), Column(name="run"), Column(name="seeds", once=True)]
    for metric in comparison.metrics:
        name = short_name(metric)
        columns += [Column(name=name, decimals=3), Column(name=f"{name} 95 %", below=True)]
    rows = []
    for number, run in enumerate(comparison.runs):
        href = record.report(number)
        cells: list[Cell] = [
            record.letters[number],
            Link(text=run.name, href=href) if href else run.name,
            len(run.seeds),
        ]
        for metric in comparison.metrics:
            low, high = record.scores[number].intervals[metric]
            cells += [run.scores[metric], f"{score(low)}–{score(high)}"]
        rows.append(cells)
    return Table(
        name="runs",
        title="Scores of the runs",
        columns=columns,
        rows=rows,
        caption=" ".join(
            [
                "All test predictions pooled, the mean over seeds. A name leads to the page of the run.",
                *_other_intervals(record),
            ]
        ),
    )


def _other_intervals(record: ComparisonRecord) -> list[str]:
    """One sentence where the pages of the runs have intervals over other units; none else."""
    units = record.comparison.units
    for run in record.runs:
        own = run.run.metrics.get("interval")
        if own and (own["unit"], own.get("inner_unit")) != (units.kind, units.inner_kind):
            inner = f", then {own['inner_unit']}s of each" if own.get("inner_unit") else ""
            return [
                f"These intervals resample {units.description}, what the tests exchange; those on the page of a run "
                f"resample what its protocol holds out, {plural(own['units'], own['unit'])}{inner}, and differ."
            ]
    return []

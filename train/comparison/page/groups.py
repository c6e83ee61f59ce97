"""For which speakers, sessions and folds each run is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.dots import dots
from emofuse.common.page.blocks import Cell, Chart, Column, PagedTable, Section, Table
from emofuse.manifests.metrics.class_scores import GROUPS
from emofuse.manifests.metrics.scores import short_name
from emofuse.manifests.names.spellings import natural_key
from emofuse.train.comparison.comparison_tables import points
from emofuse.train.comparison.page.record import MOST_ROWS_SHOWN, ComparisonRecord
from emofuse.train.comparison.statistics.paired_scores import unit_scores

MOST_GROUPS, MOST_PAIRS = 30, 3
"""How many groups a chart shows, the largest ones; and up to how many pairs the table has a column of each."""


def groups_section(record: ComparisonRecord) -> Section | None:
    """A chart and a table for each kind of group; None where none is known."""
    charts: list[Any] = []
    tables: list[Any] = []
    seen: list[tuple[int, ...]] = []
    for kind, names in _kinds(record):
        partition = _partition(names)
        if len(set(names)) < 2 or partition in seen:
            continue
        seen.append(partition)
        chart, table = _blocks(record, kind, names)
        charts.append(chart)
        tables.append(table)
    if not charts:
        return None
    metric = short_name(record.comparison.metrics[0])
    lead = f"{metric} within each group, over the classes that it has; the mean over seeds."
    return Section(name="groups", title="Speakers and groups", lead=lead, blocks=[*charts, *tables])


def _kinds(record: ComparisonRecord) -> Iterator[tuple[str, list[str]]]:
    """The kinds of groups that are known of every utterance, with the group of each."""
    rows = record.utterance_rows()
    for kind in GROUPS if rows else ():
        names = [row.get(kind, "") for row in rows or ()]
        if all(names):
            yield kind, names
    yield "fold", [str(fold) for fold in record.runs[0].folds]


def _partition(names: Sequence[str]) -> tuple[int, ...]:
    """The group of each name as a number, equal for the same groups under other names."""
    order: dict[str, int] = {}
    return tuple(order.setdefault(name, len(order)) for name in names)


def _blocks(record: ComparisonRecord, kind: str, names: Sequence[str]) -> tuple[Chart, Table | PagedTable]:
    groups = sorted(set(names), key=natural_key)
    places = {name: i for i, name in enumerate(groups)}
    numbers = np.array([places[name] for name in names])
    counts, metric = np.bincount(numbers), record.comparison.metrics[0]
    scores = np.array([unit_scores(run.by_seed(), numbers)[metric] for run in record.runs])
    return _chart(record, kind, groups, counts, scores), _table(record, kind, groups, counts, scores)


def _chart(
    record: ComparisonRecord, kind: str, groups: list[str], counts: NDArray[np.int64], scores: NDArray[np.float64]
) -> Chart:
    shown = sorted(np.argsort(-counts, kind="stable")[:MOST_GROUPS].tolist())
    series = {legend: scores[i, shown].tolist() for i, legend in enumerate(record.legend)}
    some = f" The {MOST_GROUPS} with the most utterances, of {len(groups)}." if len(groups) > MOST_GROUPS else ""
    metric = short_name(record.comparison.metrics[0])
    words = _wins(record, kind, scores)
    return Chart(
        name=f"by-{kind}",
        title=f"{metric} by {kind}",
        alt=f"{metric} of each {kind} and run. {words}",
        caption=f"{words}{some}",
        drawing=dots(
            [groups[i] for i in shown],
            series,
            metric,
            notes=[f"n {counts[i]}" for i in shown],
        ),
    )


def _wins(record: ComparisonRecord, kind: str, scores: NDArray[np.float64]) -> str:
    """How often each run is the best one."""
    best = np.isclose(scores, scores.max(0))
    alone = best & (best.sum(0) == 1)
    parts = [f"{letter} in {int(n)}" for letter, n in zip(record.letters, alone.sum(1), strict=True) if n]
    ties = int((best.sum(0) > 1).sum())
    parts += [f"several alike in {ties}"] if ties else []
    return f"Best of {scores.shape[1]} {kind}s: {', '.join(parts)}."


def _table(
    record: ComparisonRecord, kind: str, groups: list[str], counts: NDArray[np.int64], scores: NDArray[np.float64]
) -> Table | PagedTable:
    pairs = record.comparison.pairs if len(record.comparison.pairs) <= MOST_PAIRS else ()
    numbers = [record.numbers(pair) for pair in pairs]
    rows: list[list[Cell]] = []
    for g, name in enumerate(groups):
        differences = [points(scores[first, g] - scores[second, g]) for first, second in numbers]
        rows.append([name, int(counts[g]), *scores[:, g].tolist(), *differences])
    block = Table if len(rows) <= MOST_ROWS_SHOWN else PagedTable
    return block(
        name=f"{kind}s",
        title=f"{short_name(record.comparison.metrics[0])} by {kind}",
        columns=[
            Column(name=kind),
            Column(name="n"),
            *(Column(name=letter, decimals=3) for letter in record.letters),
            *(Column(name=f"{record.short(pair)}, points") for pair in pairs),
        ],
        rows=rows,
    )

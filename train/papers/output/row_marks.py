"""Which rows of a table differ from the row above them beyond chance: paired tests of their finished runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural
from emofuse.manifests.metrics.scores import LABEL_METRICS
from emofuse.train.comparison.comparison import Comparison, compare_runs
from emofuse.train.comparison.statistics.paired_tests import ALPHA, holm
from emofuse.train.papers.published_table import TableTask
from emofuse.train.papers.results import MARK, ResultRow, ResultTable

PERMUTATIONS = 1999
"""Fewer than `emofuse compare` draws: a table has many rows, and only asks whether p is below 0.05."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TestedRow:
    row: ResultRow
    comparison: Comparison

    def p(self, column: str) -> float | None:
        """Uncorrected; None for a column that is no score of all classes."""
        differences = self.comparison.pairs[0].differences
        measure = self.row.task.metrics[column]
        return differences[measure].p if measure in differences else None


def mark_differences(results: ResultTable) -> list[str]:
    """Mark the cells of finished rows that differ from the row above; returns the footnotes.

    A row is tested against the nearest row of ours above it, if both tested the same utterances with every modality.
    Holm's correction is over the rows of a task, each column apart.
    """
    footnotes = []
    for task in results.run_tasks:
        tested, untested = _tests(results, task)
        footnotes += untested
        for column in task.metrics:
            found = [(test.row, p) for test in tested if (p := test.p(column)) is not None]
            for (row, _), p in zip(found, holm([p for _, p in found]), strict=True):
                key = task.protocol, row.row.name
                marked = results.finished[key]
                cell = replace(marked.cells[column], p_above=p, differs=p < ALPHA)
                results.finished[key] = replace(marked, cells={**marked.cells, column: cell})
        if tested:
            footnotes.append(_footnote(task, [test.comparison for test in tested]))
    return footnotes


def _tests(results: ResultTable, task: TableTask) -> tuple[list[_TestedRow], list[str]]:
    """The rows that can be tested against the row above, and why others cannot."""
    tested, untested = [], []
    for above, row in _neighbours(results, task):
        try:
            found = compare_runs(
                [Path(above.run), Path(row.run)], metrics=tuple(LABEL_METRICS), permutations=PERMUTATIONS, resamples=1
            )
        except UsageError as error:
            reason = " ".join(str(error).split())
            untested.append(f"{row.row.name} is not compared with {above.row.name}: {reason}.")
        else:
            tested.append(_TestedRow(row=row, comparison=found))
    return tested, untested


def _neighbours(results: ResultTable, task: TableTask) -> Iterator[tuple[ResultRow, ResultRow]]:
    """Finished rows with the finished row above them; not those that are one run, or score it without a modality."""
    rows = [row for row in results.rows_of(task) if row.state == "run"]
    for above, row in pairwise(rows):
        if above.run != row.run and not above.row.without and not row.row.without:
            yield above, row


def _footnote(task: TableTask, found: list[Comparison]) -> str:
    """What the mark means, and whether there can be one at all."""
    units, smallest = found[0].units, min(1.0, len(found) * found[0].smallest_p)
    counted = plural(units.count, units.kind)
    exchanged = "all exchanges" if found[0].exact else f"{PERMUTATIONS} exchanges"
    line = (
        f"{MARK} on {task.protocol}: differs from the row above beyond chance (p < {ALPHA:g}, paired permutation test "
        f"of the pooled score by {units.kind}: {counted}, {exchanged}; Holm's correction over "
        f"{plural(len(found), 'row')})."
    )
    if smallest >= ALPHA:
        line += f" No row can be marked: with {counted} no p below {smallest:.3g} is possible."
    return " ".join([line, *found[0].notes])

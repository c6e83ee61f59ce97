"""Every test of the comparison, what it assumes, and how the page was made: command, runs, digests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emofuse.common.disk.digests import digest_of, read_digests
from emofuse.common.page.blocks import Cell, Column, Commands, Facts, Link, Section, Table, Text
from emofuse.train.comparison.comparison_tables import has_mcnemar, mcnemar_table, pairs_table
from emofuse.train.comparison.page.record import ComparisonRecord
from emofuse.train.comparison.sentences import definitions
from emofuse.train.runs.finished_run import CONFIG, METRICS, PREDICTIONS

DIGESTED = (CONFIG, METRICS, PREDICTIONS)
"""The files of a run whose digests are shown."""


def statistics_section(record: ComparisonRecord) -> Section:
    """The tests of every pair and metric, and what they are."""
    comparison = record.comparison
    drawn = f"{comparison.permutations:,} drawn, seed 0"
    facts = [
        ("Test that decides", "paired permutation test, two-sided"),
        ("Exchanged", f"the two runs' predictions of whole {comparison.units.kind}s"),
        ("Units", comparison.units.description),
        ("Exchanges", f"all {2**comparison.units.count:,}" if comparison.exact else drawn),
        ("Smallest p possible", f"{comparison.smallest_p:.3g}"),
        ("Correction", "Holm, over the pairs" if len(comparison.pairs) > 1 else "none, one pair"),
        ("Intervals", f"95 % percentile bootstrap, {comparison.resamples} resamples of units"),
        ("n_test / n_train", "-" if comparison.ratio is None else f"{comparison.ratio:.3f}"),
    ]
    tables = [pairs_table(record.comparison, record.short)]
    tables += [_mcnemar(record)] if has_mcnemar(record.comparison) else []
    blocks: list[Any] = [Facts(facts=facts), *tables, Text(lines=definitions(comparison))]
    return Section(name="statistics", title="Statistics", blocks=blocks)


def _mcnemar(record: ComparisonRecord) -> Table:
    """The table of McNemar's test; with several seeds, why its counts are others than those of the agreement."""
    table = mcnemar_table(record.comparison, record.short)
    if all(len(run.seeds) == 1 for run in record.runs):
        return table
    caption = "Counts of the pair of seeds with the largest p; those under Agreement are means over all pairs of seeds."
    return replace(table, caption=caption)


def made_section(record: ComparisonRecord) -> Section:
    """The command, and the runs with their folders and the digests of their files."""
    blocks: list[Any] = []
    if record.material.command:
        blocks.append(
            Commands(name="command", title="The command that made this page", commands=[record.material.command])
        )
    numbers = range(len(record.runs))
    blocks.append(
        Table(
            name="compared-runs",
            title="The compared runs",
            columns=[Column(name=name) for name in ("letter", "run", "folder")],
            rows=[_run_row(record, number) for number in numbers],
        )
    )
    blocks.append(
        Table(
            name="digests",
            title="Digests of their files",
            columns=[Column(name=name) for name in ("letter", "file", "digest (xxh3-128)")],
            rows=[row for number in numbers for row in _digest_rows(record, number)],
            caption="The command emofuse verify checks them.",
        )
    )
    return Section(name="made", title="How it was made", blocks=blocks)


def _run_row(record: ComparisonRecord, number: int) -> list[Cell]:
    name, href = record.comparison.runs[number].name, record.report(number)
    return [record.letters[number], Link(text=name, href=href) if href else name, str(record.runs[number].run.folder)]


def _digest_rows(record: ComparisonRecord, number: int) -> list[list[Cell]]:
    folder = record.runs[number].run.folder
    recorded = read_digests(folder) or {}
    return [[record.letters[number], name, recorded.get(name) or digest_of(folder / name)] for name in DIGESTED]

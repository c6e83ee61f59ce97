"""Every test of the comparison, what it assumes, and how the page was made: command, runs, digests."""

from __future__ import annotations

from typing import Any

from emofuse.common.disk.digests import digest_of, read_digests
from emofuse.common.page.blocks import Cell, Column, Commands, Facts, Link, Section, Table, Text
from emofuse.train.comparison.comparison_tables import pairs_table
from emofuse.train.comparison.page.record import ComparisonRecord
from emofuse.train.comparison.page.result import key
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
    blocks: list[Any] = [Facts(facts=facts), _pairs(record), Text(lines=definitions(comparison))]
    return Section(name="statistics", title="Statistics", blocks=blocks)


def _pairs(record: ComparisonRecord) -> Table:
    table = pairs_table(record.comparison, record.short)
    return Table(
        name=table.name, title=table.title, columns=table.columns, rows=table.rows, caption=key(record).strip()
    )


def made_section(record: ComparisonRecord) -> Section:
    """The command, and the runs with the digests of their files."""
    blocks: list[Any] = []
    if record.material.command:
        blocks.append(
            Commands(name="command", title="The command that made this page", commands=[record.material.command])
        )
    rows = [_run_row(record, number) for number in range(len(record.runs))]
    names = ("letter", "run", "folder", "page", "emofuse", *(f"digest of {name}" for name in DIGESTED))
    blocks.append(
        Table(
            name="compared-runs",
            title="The compared runs",
            columns=[Column(name=name) for name in names],
            rows=rows,
            caption="Digests are xxh3-128, which emofuse verify checks.",
        )
    )
    return Section(name="made", title="How it was made", blocks=blocks)


def _run_row(record: ComparisonRecord, number: int) -> list[Cell]:
    run, href = record.runs[number].run, record.report(number)
    versions = [str(call.get("versions", {}).get("emofuse", "")) for call in run.config.get("calls", [])]
    recorded = read_digests(run.folder) or {}
    return [
        record.letters[number],
        record.comparison.runs[number].name,
        str(run.folder),
        Link(text="report.html", href=href) if href else "-",
        ", ".join(dict.fromkeys(filter(None, versions))) or "-",
        *(recorded.get(name) or digest_of(run.folder / name) for name in DIGESTED),
    ]

"""What the compared runs were made with: what differs, and what is the same."""

from __future__ import annotations

from typing import Any

from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Column, Details, Section, Table, Text
from emofuse.train.comparison.comparison_tables import NOTHING_DIFFERS, equal_settings, settings_table
from emofuse.train.comparison.page.record import ComparisonRecord


def settings_section(record: ComparisonRecord) -> Section:
    """What the runs were made with: the differences as a table, and what is the same, once."""
    comparison = record.comparison
    table = settings_table(comparison, record.letters)
    rows = [[name, value] for name, value in equal_settings(comparison).items()]
    equal = Table(
        name="equal-settings",
        title="The same in all runs",
        columns=[Column(name="setting"), Column(name="value")],
        rows=rows,
    )
    blocks: list[Any] = [table if table.rows else Text(lines=[NOTHING_DIFFERS])]
    if rows:
        blocks.append(Details(title=f"The same in all runs: {plural(len(rows), 'setting')}", blocks=[equal]))
    return Section(name="settings", title="What differs", blocks=blocks)

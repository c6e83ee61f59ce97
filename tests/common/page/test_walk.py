"""The walk over the blocks of a page, and the files that are written of what it finds."""

from __future__ import annotations

from pathlib import Path

import page_samples

from emofuse.common.page.blocks import Choice, Details, Example, Examples, Page, Section
from emofuse.common.page.export import write_parts
from emofuse.common.page.walk import charts_of, tables_of, walk


def test_blocks_inside_others_come_after_them() -> None:
    first, second, third, *_ = page_samples.charts()
    choice = Choice(name="choice", title="t", options=[("one", first), ("other", second)])
    examples = Examples(title="e", examples=[Example(id="a", facts=(), charts=[third])])
    folded = Details(title="d", blocks=[choice, examples])
    assert [*walk([folded])] == [folded, choice, first, second, examples, third]


def test_every_chart_and_table_of_a_page_is_found() -> None:
    blocks = [block for section in page_samples.everything(2).sections for block in section.blocks]
    charts = [chart.name for chart in charts_of(blocks)]
    assert {"energy-0", "energy-1", "confusion-4", "map-40"} <= {*charts}
    assert len({*charts}) == len(charts)
    assert [table.name for table in tables_of(blocks)] == ["folds", "empty", "some", "utterances", "none"]


def test_charts_of_examples_are_written_as_files(tmp_path: Path) -> None:
    page = Page(title="t", sections=[Section(name="s", title="s", blocks=[page_samples.examples()])])
    assert write_parts(page, tmp_path, "svg") == [tmp_path / "energy-0.svg", tmp_path / "energy-1.svg"]
    assert "<svg" in (tmp_path / "energy-1.svg").read_text()

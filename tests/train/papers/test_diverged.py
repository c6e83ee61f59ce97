"""A row of a table that diverges: it has no figures, is named, and stops no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from diverging_samples import stood_alone, with_a_diverging_row
from paper_samples import raw, request, run

from emofuse.train.commands.reproduce import reproduce as command
from emofuse.train.papers.table import parse


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_row_that_diverges_stops_no_other(folder: Path, jobs: int) -> None:
    table, runs = with_a_diverging_row(folder), folder / f"diverged{jobs}"
    # Long enough that it is heard of while others of the row wait; those next in line are begun all the same.
    asked = request(folder, table, runs=runs, jobs=jobs, threads=1, seeds=3, steps=4 if jobs == 1 else 40)
    sheet, where, said = run(asked)
    stood_alone(asked.table, sheet, where)
    begun = list(runs.rglob("*.part/seed_*.part/fold_*"))
    assert 1 <= len(begun) <= (1 if jobs == 1 else 9)  # of 12
    assert any("note audio, seed 0, fold" in line and "loss is nan" in line for line in said)
    again, where, said = run(asked)
    stood_alone(asked.table, again, where)
    assert sum("already done" in line for line in said) == 1


def test_the_command_names_the_row_that_diverged_after_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emofuse.train.papers.table.load", lambda name: with_a_diverging_row(folder))
    words = ["tiny-table9", "--store", str(folder / "tiny.h5"), "--steps", "4", "--device", "cpu", "--jobs", "1"]
    done = CliRunner().invoke(command, [*words, "--folds", "1", "--out", str(folder / "commanded")])
    assert done.exit_code == 2
    assert "the whole" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: these rows diverged and have no figures: Audio on ")


def test_a_figure_that_needs_all_rows_is_not_drawn_without_one(folder: Path) -> None:
    figure = {"kind": "tsne", "over": {}}
    rows = [{"name": "Audio", "ablation": "Audio", "set": ["lr=1e30", "hidden=8"]}]
    table = parse("tiny-figure9", raw(folder, rows=rows, figure=figure))
    sheet, where, said = run(request(folder, table, runs=folder / "undrawn", jobs=1))
    assert sheet.remarks == ["Table 9 is not drawn, as not all of its rows have figures."]
    assert "is not drawn" in (where / "table.md").read_text()
    assert not any("drawing" in line for line in said)

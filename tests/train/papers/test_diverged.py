"""A row that diverges: it has no figures, is named, and does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from diverging_samples import only_the_first_row_diverged, with_a_diverging_row
from paper_samples import raw, request, run

from emofuse.train.commands.reproduce import reproduce as command
from emofuse.train.papers.published_table import parse


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_row_that_diverges_does_not_stop_the_others(folder: Path, jobs: int) -> None:
    table, runs = with_a_diverging_row(folder), folder / f"diverged{jobs}"
    # Long enough that the divergence is known before the row's other trainings start; those next in line start anyway.
    call = request(folder, table, runs=runs, jobs=jobs, threads=1, seeds=3, steps=4 if jobs == 1 else 40)
    results, where, reported = run(call)
    only_the_first_row_diverged(call.table, results, where)
    started = list(runs.rglob("*.part/seed_*.part/fold_*"))
    assert 1 <= len(started) <= (1 if jobs == 1 else 9)  # of 12
    assert any("note audio, seed 0, fold" in line and "loss is nan" in line for line in reported)
    again, where, reported = run(call)
    only_the_first_row_diverged(call.table, again, where)
    assert sum("already done" in line for line in reported) == 1


def test_the_command_names_the_diverged_row_after_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emofuse.train.papers.published_table.load", lambda name: with_a_diverging_row(folder))
    words = ["tiny-table9", "--store", str(folder / "tiny.h5"), "--steps", "4", "--device", "cpu", "--jobs", "1"]
    done = CliRunner().invoke(command, [*words, "--folds", "1", "--out", str(folder / "commanded")])
    assert done.exit_code == 2
    assert "the whole" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: these rows diverged and have no figures: Audio on ")


def test_a_figure_that_needs_all_rows_is_not_drawn_without_one(folder: Path) -> None:
    figure = {"kind": "tsne", "over": {}}
    rows = [{"name": "Audio", "ablation": "Audio", "set": ["lr=1e30", "hidden=8"]}]
    table = parse("tiny-figure9", raw(folder, rows=rows, figure=figure))
    results, where, reported = run(request(folder, table, runs=folder / "undrawn", jobs=1))
    assert results.remarks == ["Table 9 is not drawn, as not all of its rows have figures."]
    assert "is not drawn" in (where / "table.md").read_text()
    assert not any("drawing" in line for line in reported)

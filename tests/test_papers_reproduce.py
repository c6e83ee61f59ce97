"""`reproduce`: a table of a small corpus run, resumed, marked where it is short, refused where it must be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.train.papers import render
from emofuse.train.papers.jobs import Request, jobs
from emofuse.train.papers.reproduce import folder_of, reproduce
from emofuse.train.papers.results import Sheet
from emofuse.train.papers.table import Table, parse

TINY = ("lr=0.01", "hidden=8", "batch=16")
QUIET = {"seeds": 1, "steps": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reproduce")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def raw(folder: Path, **changes: Any) -> dict[str, Any]:
    protocol = str(folder / "tiny4.toml")
    figures: Mapping[str, Any] = {protocol: {"UA": 62.7, "WA": 59.9}}
    return {
        "paper": "A Paper",
        "where": "Table 9",
        "about": "an ablation",
        "unit": "percent",
        "model": "smcn",
        "notes": ["A note & more_of it."],
        "tasks": [
            {"protocol": protocol, "metrics": {"UA": "ua", "WA": "wa"}, "features": {"audio": "logmel", "text": "bert"}}
        ],
        "rows": [
            {"name": "Somebody [1]", "cited": True, "published": figures},
            {"name": "Audio", "ablation": "Audio", "set": list(TINY), "published": figures},
            {"name": "SMCN", "set": list(TINY), "published": {protocol: {"UA": 77.6}}, "note": "the whole"},
        ],
    } | changes


def request(folder: Path, table: Table, **changes: Any) -> Request:
    return Request(table=table, stores=(folder / "tiny.h5",), runs=folder / "runs", **(QUIET | changes))


def run(asked: Request) -> tuple[Sheet, Path, list[str]]:
    said: list[str] = []
    sheet, where = reproduce(asked, said.append)
    return sheet, where, said


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Sheet, Path, list[str]]:
    return run(request(folder, parse("tiny-table9", raw(folder)), seeds=2))


def test_ours_are_mean_and_deviation_over_folds_and_seeds(done: tuple[Sheet, Path, list[str]], folder: Path) -> None:
    sheet = done[0]
    line = sheet.of(sheet.table.tasks[0])[2]
    found = [json.loads((Path(line.run) / f"seed_{s}" / "metrics.json").read_text())["folds"] for s in (0, 1)]
    values = [100 * fold["test"]["ua"] for folds in found for fold in folds]
    cell = line.cells["UA"]
    assert (cell.count, cell.published) == (8, 77.6)
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.deviation == pytest.approx(np.std(values, ddof=1))
    assert cell.difference == pytest.approx(np.mean(values) - 77.6)
    assert line.cells["WA"].difference is None


def test_a_cited_row_is_not_run_and_keeps_its_figures(done: tuple[Sheet, Path, list[str]]) -> None:
    sheet, _, said = done
    cited = sheet.of(sheet.table.tasks[0])[0]
    assert (cited.state, cited.cells["UA"].published, cited.cells["UA"].mean) == ("cited", 62.7, None)
    assert not any("Somebody" in line for line in said)


def test_the_same_command_again_only_reads(done: tuple[Sheet, Path, list[str]], folder: Path) -> None:
    again, where, said = run(request(folder, parse("tiny-table9", raw(folder)), seeds=2))
    assert where == done[1]
    assert sum("already done" in line for line in said) == 2
    assert render.comma_separated(again) == render.comma_separated(done[0])


def test_what_was_stopped_goes_on_with_the_rows_that_are_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(folder, parse("tiny-table9", raw(folder)), steps=5)
    from emofuse.train.papers import reproduce as module

    real, calls = module.fit, []

    def stopped(config: Any, say: Any) -> Any:
        calls.append(config.model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(config, say=say)

    monkeypatch.setattr(module, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        reproduce(asked, lambda line: None)
    left = (folder_of(asked) / "table.md").read_text()
    assert "not run" in left
    monkeypatch.undo()
    said = run(asked)[2]
    assert sum("already done" in line for line in said) == 1
    assert "not run" not in (folder_of(asked) / "table.md").read_text()


def test_a_short_run_and_substitutes_are_marked_in_every_output(done: tuple[Sheet, Path, list[str]]) -> None:
    _, where, _ = done
    for name in ("table.csv", "table.md", "table.tex"):
        assert "short run (--steps 4)" in (where / name).read_text()
    assert "NOT the paper's own conditions" in render.screen(done[0])
    assert where.name.startswith("tiny-table9-")


def test_substituted_features_are_named_by_encoder_or_feature(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "features": {"audio": "hubert-large", "text": "roberta"}}]
    table = parse("tiny-table9", raw(folder, tasks=tasks))
    asked = request(folder, table, substitute={"hubert-large": "logmel-smcn", "roberta": "bert"}, only=("SMCN",))
    work, _ = jobs(asked)
    assert [(job.config.audio, job.config.text) for job in work] == [("logmel", "bert")]
    assert asked.marks()[1:] == ["logmel-smcn stands in for hubert-large", "bert stands in for roberta"]


def test_a_protocol_can_stand_in_for_the_papers(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "protocol": "iemocap4"}]
    rows = [{"name": "SMCN", "set": list(TINY), "published": {"iemocap4": {"UA": 77.6}}}]
    table = parse("tiny-table9", raw(folder, tasks=tasks, rows=rows))
    with pytest.raises(UsageError, match=r"tiny\.h5 holds tiny") as caught:
        jobs(request(folder, table))
    assert "iemocap4: no store of iemocap was given" in str(caught.value)
    sheet, where, _ = run(request(folder, table, substitute={"iemocap4": str(folder / "tiny4.toml")}))
    assert sheet.of(table.tasks[0])[0].state == "run"
    assert "stands in for iemocap4" in (where / "table.tex").read_text()


def test_a_modality_absent_at_inference_is_one_run_with_the_whole(folder: Path) -> None:
    small = ["width=8", "heads=2", "feedforward=16", "tokens=3", "batch=16", "lr=0.01"]
    rows = [
        {"name": "Full", "model": "msmser", "set": small},
        {"name": "Full (only text)", "model": "msmser", "set": small, "without": "audio"},
    ]
    sheet, _, said = run(request(folder, parse("tiny-table9", raw(folder, rows=rows))))
    full, text = sheet.of(sheet.table.tasks[0])
    assert full.run == text.run
    assert sum("already done" in line for line in said) == 1
    metrics = json.loads((Path(full.run) / "metrics.json").read_text())
    assert text.cells["UA"].mean == pytest.approx(100 * metrics["without"]["audio"]["mean"]["ua"])
    assert full.cells["UA"].mean == pytest.approx(100 * metrics["mean"]["ua"])


def test_recall_of_a_class_can_be_a_column(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "metrics": {"anger": "recall:ang", "joy": "recall:joy"}}]
    rows = [{"name": "Audio", "ablation": "Audio", "set": list(TINY)}]
    sheet, _, _ = run(request(folder, parse("tiny-table9", raw(folder, tasks=tasks, rows=rows))))
    cells = sheet.of(sheet.table.tasks[0])[0].cells
    assert 0 <= (cells["anger"].mean or 0) <= 100
    assert cells["joy"].mean is None


def test_a_feature_that_lacks_is_told_with_the_command_that_adds_it(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "features": {"audio": "wavlm", "text": "roberta"}}]
    with pytest.raises(UsageError) as caught:
        jobs(request(folder, parse("tiny-table9", raw(folder, tasks=tasks))))
    told = str(caught.value)
    assert "extract --dataset tiny --encoder wavlm --store" in told
    assert "extract --dataset tiny --encoder roberta --store" in told
    assert "--substitute OLD=NEW" in told


def test_unknown_rows_substitutes_and_ablations_are_refused(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    with pytest.raises(UnknownNameError, match=r"no row of tiny-table9 named 'Adio'\. Did you mean 'Audio'"):
        jobs(request(folder, table, only=("Adio",)))
    with pytest.raises(UsageError, match=r"Somebody \[1\]: another system's figures, cited and not run"):
        jobs(request(folder, table, only=("Somebody [1]",)))
    with pytest.raises(UnknownNameError, match="no feature or protocol of tiny-table9 named 'hubert'"):
        jobs(request(folder, table, substitute={"hubert": "logmel"}))
    rows = [{"name": "X", "ablation": "Audo"}]
    with pytest.raises(UnknownNameError, match="no ablation of smcn named 'Audo'"):
        jobs(request(folder, parse("tiny-table9", raw(folder, rows=rows))))


def test_no_store_and_two_stores_of_a_corpus_are_refused(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    with pytest.raises(UsageError, match="no store was given"):
        jobs(Request(table=table, stores=()))
    with pytest.raises(UsageError, match="two stores of corpus tiny"):
        jobs(Request(table=table, stores=(folder / "tiny.h5", folder / "tiny.h5")))


def test_a_frozen_feature_that_the_paper_fine_tuned_is_said(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder, fine_tuned=["bert"]))
    sheet, where, _ = run(request(folder, table))
    audio, both = sheet.of(table.tasks[0])[1:]
    assert "bert is frozen here, the paper fine-tuned it on each fold" in both.notes
    assert not audio.notes
    assert "bert is frozen here" in (where / "table.csv").read_text()


def test_the_files_hold_what_the_screen_shows(done: tuple[Sheet, Path, list[str]]) -> None:
    sheet, where, _ = done
    rows = list(csv.DictReader(io.StringIO((where / "table.csv").read_text())))
    assert [(r["row"], r["column"]) for r in rows[:3]] == [
        ("Somebody [1]", "UA"),
        ("Somebody [1]", "WA"),
        ("Audio", "UA"),
    ]
    cell = sheet.of(sheet.table.tasks[0])[2].cells["UA"]
    mine = next(r for r in rows if (r["row"], r["column"]) == ("SMCN", "UA"))
    assert float(mine["ours"]) == pytest.approx(cell.mean, abs=1e-6)
    assert (mine["paper"], mine["folds_x_seeds"], mine["state"]) == ("77.6", "8", "run")
    shown = f"{cell.mean:.1f} ± {cell.deviation:.1f}"
    assert shown in (where / "table.md").read_text()
    assert shown in render.screen(sheet)
    tex = (where / "table.tex").read_text()
    assert shown.replace("±", r"$\pm$") in tex
    assert r"A note" not in tex or r"\&" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    assert tex.count(r"\\") == 5


def test_figures_stand_as_printed() -> None:
    tasks = [{"protocol": "iemocap4", "metrics": {"UA": "ua"}}]
    rows = [{"name": "a", "cited": True, "published": {"iemocap4": {"UA": 77.84}}}]
    table = parse("t", {"paper": "P", "where": "T", "about": "a", "unit": "percent", "tasks": tasks, "rows": rows})
    assert "77.84" in render.screen(Sheet(table=table, marks=[], protocols={}, left_out={}))

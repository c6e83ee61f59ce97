"""Runs on the folds of a file: what they record, that they need the file no more, and that another file is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import pytest
import train_samples as samples
from train_samples import config, quietly, rows

from emofuse.manifests.fold_file import read_fold_file

TOML = samples.TOML.replace('by = "session"', 'file = "folds.csv"')


def write_folds(folder: Path, fold_of: dict[str, str]) -> None:
    lines = [f"{u.id},{fold_of[str(u.session)]}" for u in samples.utterances()]
    (folder / "folds.csv").write_text("\n".join(["id,fold", *lines]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made, TOML)
    write_folds(made, {s: s for s in "1234"})
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return quietly(config(folder, "run", "linear", audio="logmel", report=True))


def test_a_run_records_the_digest_of_the_folds_and_their_sides(run: Path, folder: Path) -> None:
    protocol = json.loads((run / "config.json").read_text())["run"]["protocol"]
    assert protocol["fold_file"] == read_fold_file("folds.csv", folder).digest
    assert (protocol["fold_by"], protocol["fold_source"]) == ("file", "folds.csv")
    session_of = {u.id: u.session for u in samples.utterances()}
    assert {(row["fold"], session_of[row["id"]]) for row in rows(run / "predictions.csv")} == {(s, s) for s in "1234"}
    page = (run / "report.html").read_text()
    assert "The folds are those of the file folds.csv" in page
    assert protocol["fold_file"] in page


def test_verify_evaluate_compare_and_export_need_no_file(run: Path, folder: Path, tmp_path: Path) -> None:
    other = quietly(config(folder, "other", "linear", audio="logmel", seed=1))
    hidden = (folder / "folds.csv").rename(folder / "hidden.csv")
    try:
        for name, arguments in (
            ("verify", [str(run)]),
            ("compare", [str(run), str(other)]),
            ("evaluate", ["--run", str(run), "--store", str(folder / "tiny.h5"), "--out", str(tmp_path / "e")]),
            ("export", ["--run", str(run), "--format", "card", "--out", str(tmp_path / "card")]),
        ):
            done = commands.run(name, arguments)
            assert done.returncode == 0, done.stderr
    finally:
        hidden.rename(folder / "folds.csv")
    card = (tmp_path / "card" / "MODEL_CARD.md").read_text()
    assert "4 folds by file" in card


def test_other_folds_are_another_task(run: Path, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("tiny.h5", "tiny4.toml"):
        shutil.copy(folder / name, copy)
    write_folds(copy, {"1": "1", "2": "1", "3": "2", "4": "3"})
    other = quietly(config(copy, "run", "linear", audio="logmel"))
    done = commands.run("compare", [str(run), str(other)])
    assert done.returncode == 2
    assert "protocol fold_file is " in done.stderr


def test_select_last_and_limit(folder: Path) -> None:
    last = quietly(config(folder, "last", "linear", audio="logmel", select="last", limit=48))
    folds = json.loads((last / "metrics.json").read_text())["folds"]
    assert [f["utterances"] for f in folds] == [{"train": 36, "validation": 0, "test": 12}] * 4

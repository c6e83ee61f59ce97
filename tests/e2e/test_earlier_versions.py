"""Stores and run folders of version 0.1.0 still open, are recognised, and resume (tests/archives/run-v0.1.0)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import pytest
from paths import ROOT

from emofuse.manifests.metrics.scores import METRICS

ARCHIVE = ROOT / "tests" / "archives" / "run-v0.1.0"
FIT = ("--store", "tiny.h5", "--protocol", "tiny4.toml", "--model", "concat", "--audio", "logmel", "--text", "bert",
       "--steps", "20", "--set", "hidden=4", "--set", "batch=4", "--set", "lr=0.01", "--threads", "1",
       "--device", "cpu")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the archive; what version 0.1.0 called the run is its folder's name."""
    return Path(shutil.copytree(ARCHIVE, tmp_path / "archive"))


def test_its_store_is_whole(folder: Path) -> None:
    assert commands.run("store", ["verify", "tiny.h5"], folder).returncode == 0


def test_its_finished_run_is_recognised_under_its_name(folder: Path) -> None:
    (run,) = (folder / "runs").iterdir()
    before = (run / "metrics.json").read_bytes()
    done = commands.run("fit", FIT, folder)
    assert (done.returncode, "already" in done.stdout) == (0, True), done.stderr
    assert f"run: runs/{run.name}" in done.stdout
    assert (run / "metrics.json").read_bytes() == before


def test_its_interrupted_run_resumes_inside_its_fold(folder: Path) -> None:
    kept = (folder / "half.part" / "fold_1" / "result.json").read_bytes()
    done = commands.run("fit", (*FIT, "--out", "half"), folder)
    assert done.returncode == 0, done.stderr
    assert "1 of 4 folds" in done.stdout
    assert "from step 12" in done.stdout
    assert (folder / "half" / "fold_1" / "result.json").read_bytes() == kept
    metrics = json.loads((folder / "half" / "metrics.json").read_text(encoding="utf-8"))
    finished = json.loads(next((folder / "runs").glob("*/metrics.json")).read_text(encoding="utf-8"))
    assert [f["fold"] for f in metrics["folds"]] == [1, 2, 3, 4]
    assert set(finished) <= set(metrics)
    assert set(metrics["mean"]) == set(METRICS), "also those that the earlier version did not have"
    assert len(json.loads((folder / "half" / "config.json").read_text(encoding="utf-8"))["calls"]) == 2

"""`report` of a folder of runs: the leaderboard, with links to the pages of its runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import report_samples as samples
from paths import ROOT

from emofuse.common.errors import UsageError

RUN_0_1 = ROOT / "tests" / "archives" / "run-v0.1.0" / "runs" / "tiny4-concat-66db0bd5"


def test_the_leaderboard_of_a_folder_is_in_it(tmp_path: Path) -> None:
    shutil.copytree(RUN_0_1, tmp_path / "runs" / "one")
    samples.reported(tmp_path / "runs" / "one")
    (tmp_path / "runs" / "two.part").mkdir()
    shutil.copy(RUN_0_1 / "config.json", tmp_path / "runs" / "two.part")
    made, lines = samples.reported(tmp_path / "runs")
    assert made.files == (tmp_path / "runs" / "report.html",)
    page = samples.page_of(made)
    assert '"./one/report.html"' in page
    assert "unfinished" in page
    assert lines[-1].startswith(f"page: {tmp_path / 'runs' / 'report.html'}, ")


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"empty.* no runs") as raised:
        samples.reported(tmp_path / "empty")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.rglob("*.html"))


def test_a_folder_of_runs_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "one.part").mkdir()
    (tmp_path / "one.part" / "config.json").write_text("{}")
    code = "import sys; from emofuse.report import report; report(path=sys.argv[1]); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""What is no run: one clear line each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import report_samples as samples
from commands import run as typed
from paths import ROOT

from emofuse.train import verify_run

RUN_0_1 = ROOT / "tests" / "archives" / "run-v0.1.0" / "runs" / "tiny4-concat-66db0bd5"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a file, a folder without runs, and unfinished runs."""
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "runs" / "one.part").mkdir(parents=True)
    (tmp_path / "runs" / "one.part" / "config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("missing", "missing does not exist: pass the folder of a finished run, or a folder of runs"),
        ("file.txt", "file.txt is a file: pass the folder of a finished run, or a folder of runs"),
        ("runs/one.part", "runs/one.part is an unfinished run: run the same fit again to finish it"),
        ("runs/one", "runs/one is not finished, its folder is runs/one.part: run the same fit again to finish it"),
    ],
)
def test_one_line_says_why_there_is_no_page(path: str, expected: str, runs: Path) -> None:
    done = typed("report", [path], cwd=runs)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr
    assert "`emofuse report runs` lists it" in done.stderr or "one" not in path
    assert not list(runs.rglob("*.html"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["RUN", "--out", "."], "--out . is a folder: pass a file, such as report.html"),
        (["RUN", "--out", "file.txt/page.html"], "file.txt/page.html cannot be written: "),
        (["RUN", "--format", "csv", "--out", "file.txt"], "file.txt is a file, expected a folder for the csv files"),
        (["RUN", "--out", "run/metrics.json"], "is inside the finished run"),
        (["RUN", "--format", "csv", "--out", "run/tables"], "is inside the finished run"),
        (["RUN", "--audio-root", "no"], "--audio-root no: no is not a folder"),
        (["RUN", "--store", "file.txt"], "file.txt"),
    ],
)
def test_options_that_cannot_work_are_one_line(arguments: list[str], expected: str, runs: Path) -> None:
    shutil.copytree(RUN_0_1, runs / "run")
    shutil.copy(RUN_0_1.parents[1] / "tiny.h5", runs / "tiny.h5")
    done = typed("report", [a.replace("RUN", "run") for a in arguments], cwd=runs)
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr


def test_a_run_of_version_0_1_0_has_a_page(tmp_path: Path) -> None:
    shutil.copytree(RUN_0_1.parents[1], tmp_path / "v1")
    folder = tmp_path / "v1" / "runs" / RUN_0_1.name
    made, _ = samples.reported(folder, store=tmp_path / "v1" / "tiny.h5")
    assert "concat" in samples.page_of(made)
    assert verify_run(folder).problems == ()


def test_help_needs_neither_torch_nor_matplotlib() -> None:
    code = "import sys; from emofuse.report.commands.report import report; report(['--help'], standalone_mode=False); "
    code += "assert not {'torch', 'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--audio-root" in done.stdout


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    run = Path(shutil.copytree(RUN_0_1, tmp_path / "run"))
    code = (
        "import sys; sys.modules['jinja2'] = sys.modules['matplotlib'] = None; "
        f"from emofuse.common.umbrella import load_command; load_command('report')([{str(run)!r}, '--no-models'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: charts and pages need matplotlib and jinja2: pip install 'emofuse[report]'\n"
    assert verify_run(run).problems == ()

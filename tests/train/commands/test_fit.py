"""The command `fit` in separate processes: exit codes, messages, and packages that it does not need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import commands
import pytest
import train_samples as samples

from emofuse.store import FeatureData
from emofuse.train.models.registry import MODELS

QUICK = ("--model", "text", "--steps", "4", "--set", "hidden=4", "--folds", "1", "--threads", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def call(folder: Path, *arguments: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `fit` in `folder`; in a separate process where packages (`without`) must not be importable."""
    if not without:
        return commands.run("fit", arguments, folder)
    code = (
        f"import sys\nfor name in {without!r}: sys.modules[name] = None\n"
        "from emofuse.train.commands.fit import main\nsys.argv[0] = 'fit'\nmain()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_needs_no_torch_and_names_every_model() -> None:
    code = (
        "import sys\nfrom emofuse.train.commands.fit import fit\n"
        "fit.main(['--help'], standalone_mode=False)\nprint('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    in_one_line = re.sub(r"-\s+", "-", done.stdout)  # the help breaks lines at hyphens
    assert all(name in in_one_line for name in MODELS.names())


def test_quiet_keeps_warnings_and_results_and_drops_the_plan(folder: Path) -> None:
    words = ("--store", "tiny.h5", "--protocol", "tiny4.toml", *QUICK)
    printed = call(folder, *words, "--out", "said").stdout.splitlines()
    said = printed[: printed.index("")]  # the header; an empty line precedes the table
    quiet = call(folder, *words, "--out", "quiet", "--quiet")
    shown = quiet.stdout.splitlines()
    assert (quiet.returncode, quiet.stderr) == (0, "")
    warned = [line for line in said if line.startswith(("note ", "texts ", "reduced ", "excluded "))]
    assert warned
    assert shown[: len(warned)] == warned
    plan = [line for line in said if line.startswith(("protocol ", "classes ", "model ", "settings ", "folds "))]
    assert len(plan) == 5
    assert not set(plan) & set(shown)
    assert shown[-1] == "run: quiet"


def test_it_runs_without_stage_one_and_without_the_report_packages(folder: Path) -> None:
    absent = (
        "transformers",
        "torchaudio",
        "soundfile",
        "av",
        "matplotlib",
        "jinja2",
        "emofuse.extract",
        "emofuse.datasets",
    )
    done = call(folder, "--store", "tiny.h5", "--protocol", "tiny4.toml", *QUICK, "--out", "bare", without=absent)
    assert done.returncode == 0, done.stderr
    assert "pip install 'emofuse[report]'" in done.stdout
    assert "run: bare" in done.stdout
    assert not (folder / "bare" / "report.html").exists()
    assert (folder / "bare" / "metrics.json").exists()


USUAL = ("--store", "tiny.h5", "--model", "text", "--protocol", "tiny4.toml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--store", "none.h5", "--model", "text"), "no store at none.h5"),
        (("--store", "tiny.h5", "--model", "txt", "--protocol", "tiny4.toml"), "Did you mean 'text'?"),
        (("--store", "tiny.h5", "--model", "text"), "no protocol for corpus 'tiny'"),
        (("--store", "tiny.h5", "--model", "text", "--seeds", "0"), "--seeds"),
        (("--model", "text"), "--store"),
        (("--store", "tiny.h5", "--model", "text", "--model", "smcn"), "fit trains one, not text and smcn"),
        ((*USUAL, "--threads", "100000"), "--threads 100000: this process may use"),
        ((*USUAL, "--out", "tiny.h5/run"), "tiny.h5 cannot be a folder"),
        ((*USUAL, "--out", "/proc/run"), "choose another path"),
    ],
)
def test_wrong_use_is_exit_code_two_and_no_traceback(folder: Path, arguments: tuple[str, ...], expected: str) -> None:
    done = call(folder, *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_store_is_exit_code_three(folder: Path) -> None:
    whole = (folder / "tiny.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    done = call(folder, "--store", "cut.h5", "--model", "text", "--protocol", "tiny4.toml")
    assert done.returncode == 3
    assert done.stderr.startswith("error: cut.h5 ")
    assert "Traceback" not in done.stderr


def test_excluded_utterances_are_listed_and_exit_code_one(folder: Path) -> None:
    every = samples.utterances()
    arrays = dict(list(samples.frames(every, 1).items())[1:])
    samples.store(folder / "partial.h5", features={"bert": FeatureData(modality="text", arrays=arrays)})
    arguments = ("--store", "partial.h5", "--protocol", "tiny4.toml", *QUICK, "--out", "partial")
    done = call(folder, *arguments)
    assert done.returncode == 1, done.stderr
    assert f"excluded  1 utterance without an up-to-date feature: {every[0].id} (no up-to-date text" in done.stdout


def test_a_reduced_task_is_allowed_and_reported(folder: Path) -> None:
    (folder / "strict.toml").write_text(f"{samples.TOML}\n[expected]\ntotal = 66\n")
    arguments = ("--store", "tiny.h5", "--protocol", "strict.toml", *QUICK, "--out", "strict")
    done = call(folder, *arguments, "--allow-missing", "2")
    assert done.returncode == 0, done.stderr
    assert "text on strict, reduced task: 64 of 66 expected utterances" in done.stdout


def test_a_finished_fit_prints_its_results_again(folder: Path) -> None:
    arguments = ("--store", "tiny.h5", "--protocol", "tiny4.toml", *QUICK, "--out", "twice")
    first, again = call(folder, *arguments), call(folder, *arguments)
    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert "already done: twice" in again.stdout
    table = first.stdout[first.stdout.index("text on tiny4") :]
    assert again.stdout.endswith(table)

"""`emofuse predict` as a user runs it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import commands
import predict_samples as samples
import pytest

from emofuse.predict import PredictConfig
from emofuse.predict.commands.predict import predict as command
from emofuse.train import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.corpus(tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return samples.run(folder, "run", "audio")


def predict(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run("predict", ["--run", "run", "--device", "cpu", *arguments], folder)


def test_json_lines_are_on_stdout_and_the_rest_on_stderr(folder: Path, run: Run) -> None:
    done = predict(folder, "corpus/wav")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == samples.UTTERANCES
    assert set(rows[0]) == {
        "id", "kind", "start", "end", "prediction", "probabilities", "calibrated", "models", "spread", "missing",
        "text",
    }  # fmt: skip
    assert rows[0]["id"].startswith("corpus/wav/")
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert rows[0]["prediction"] == max(rows[0]["probabilities"], key=rows[0]["probabilities"].get)
    assert f"{samples.UTTERANCES} clips; audio of run, the mean of 2 models (2 folds, 1 seed)" in done.stderr
    assert "note on the run: reduced task" in done.stderr
    assert f"predicting: {samples.UTTERANCES}/{samples.UTTERANCES} clips" in done.stderr


def test_a_csv_file_has_one_header_and_is_there_when_it_is_complete(folder: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    arguments = ("corpus/wav", "--format", "csv", "--window", "1", "--out", str(out), "--quiet")
    done = predict(folder, *arguments)
    assert (done.returncode, done.stdout) == (0, "")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} >= {"window", "mean"}
    assert "prediction" not in {row["prediction"] for row in rows}
    assert list(tmp_path.iterdir()) == [out]
    again = predict(folder, *arguments)
    assert again.returncode == 2
    assert "already exists" in again.stderr


def test_exit_codes_are_those_of_extract(folder: Path, run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "=broken.wav"
    broken.write_bytes(b"RIFF")
    some = predict(folder, "corpus/wav", str(broken))
    assert some.returncode == 1
    assert f"excluded {broken}: audio: " in some.stderr
    assert "1 item excluded" in some.stderr
    none = predict(folder, str(broken), "--out", str(tmp_path / "none.jsonl"))
    assert none.returncode == 2
    assert "no clip can be predicted" in none.stderr
    assert not list(tmp_path.glob("none*"))
    assert predict(folder, "gone.wav", "--fold", "9").returncode == 2
    metrics = run.folder / "metrics.json"
    content = metrics.read_text()
    metrics.write_text("{")
    try:
        assert predict(folder, "corpus/wav").returncode == 3
    finally:
        metrics.write_text(content)


def test_names_that_a_spreadsheet_would_run_are_made_harmless(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = sorted((folder / "corpus" / "wav").glob("*.wav"))[0]
    (tmp_path / "=1+1.wav").write_bytes(clip.read_bytes())
    done = commands.run("predict", ["--run", str(run.folder), "=1+1.wav", "--format", "csv"], tmp_path)
    assert done.stdout.splitlines()[1].startswith("'=1+1.wav,")


def test_the_options_are_the_fields_of_the_config_with_the_same_defaults() -> None:
    given = command.make_context("predict", ["--run", "run"]).params
    config = PredictConfig(run="run")
    known = PredictConfig.__dataclass_fields__.keys() - {"quiet"}  # the command's is the --quiet of every command
    assert given == {name: getattr(config, name) for name in known}


@pytest.mark.slow
def test_help_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys; from emofuse.common.umbrella import load_command; load_command('predict'); "
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

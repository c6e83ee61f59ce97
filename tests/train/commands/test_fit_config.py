"""`fit --config` with the config.json of a run: it repeats that run, or says what has changed since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import pytest
import train_samples as samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("config")
    samples.store(made / "tiny.h5")
    task = samples.protocol_file(made)
    (made / "run.toml").write_text(
        f'store = "tiny.h5"\nmodel = "concat"\nprotocol = "{Path(task).name}"\naudio = "logmel"\n'
        'steps = 2\nfolds = 1\ndevice = "cpu"\njobs = 1\nreport = false\nset = {lr = 0.002}\nout = "first"\n'
    )
    done = commands.run("fit", ["--config", "run.toml"], made)
    assert done.returncode == 0, done.stderr
    return made


def test_the_config_of_a_run_repeats_it_from_any_folder(folder: Path, tmp_path: Path) -> None:
    config = folder / "first" / "config.json"
    again = ["--config", str(config), "--out", "again", "--no-report", "--device", "cpu", "--jobs", "1"]
    assert commands.run("fit", again, tmp_path).returncode == 0
    one, two = (json.loads((run / "config.json").read_text()) for run in (folder / "first", tmp_path / "again"))
    assert one["run"] == two["run"]
    predictions = [(run / "predictions.csv").read_bytes() for run in (folder / "first", tmp_path / "again")]
    assert predictions[0] == predictions[1]
    assert (one["options"]["audio"], one["options"]["set"]) == ("logmel", ["lr=0.002"])


def test_a_run_that_would_differ_now_is_refused_with_what_differs(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "first", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["run"]["manifest"] = "another"
    config["run"]["settings"]["lr"] = 1.0
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    done = commands.run("fit", ["--config", str(tmp_path / "run" / "config.json"), "--jobs", "1"], tmp_path)
    assert done.returncode == 2
    assert "cannot be repeated: manifest, settings differ now" in done.stderr
    assert not (tmp_path / "runs").exists()

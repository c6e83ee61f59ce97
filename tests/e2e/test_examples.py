"""docs/examples: a corpus, an encoder, a protocol and a model of another package, installed and used as a lab would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from paths import ROOT
from train_samples import protocol_file, store

EXAMPLES = ROOT / "docs" / "examples"
MAIN = "from emofuse.common.umbrella import main; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, installed by pip into a folder of their own."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [*pip, "--target", str(folder / "site"), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


def emofuse(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that finds the installed examples."""
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["tones_corpus.py", "energy_encoder.py", "gated_fusion.py"])
def test_each_example_is_one_short_file(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def test_a_corpus_and_an_encoder_of_another_package(installed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for speaker in ("anna", "ben", "carl", "dora"):
        (tmp_path / "tones" / speaker).mkdir(parents=True)
        for n in range(8):
            label, hertz = (("low", 150), ("high", 2000))[n % 2]
            wave = np.sin(2 * np.pi * hertz * np.arange(8000) / 16000) + 0.01 * rng.standard_normal(8000)
            soundfile.write(tmp_path / "tones" / speaker / f"{label}_{n:02d}.wav", 0.5 * wave, 16000)
    soundfile.write(tmp_path / "tones" / "anna" / "noise.wav", rng.standard_normal(800) / 9, 16000)
    done = emofuse(installed, tmp_path, "manifest", "tones", "--root", "tones")
    assert "not named LABEL_NUMBER.wav" in done.stdout + done.stderr
    done = emofuse(installed, tmp_path, "extract", "--dataset", "tones", "--root", "tones", "--encoder", "energy",
                   "--store", "tones.h5")  # fmt: skip
    assert (done.returncode, "energy: 32 utterances encoded" in done.stdout) == (0, True), done.stderr
    done = emofuse(installed, tmp_path, "fit", "--store", "tones.h5", "--model", "linear", "--audio", "energy",
                   "--steps", "50", "--out", "run")  # fmt: skip
    assert (done.returncode, "tones2" in done.stdout) == (0, True), done.stderr
    assert "fold 4 (dora)" in done.stdout


def test_a_model_of_another_package(installed: Path, tmp_path: Path) -> None:
    store(tmp_path / "tiny.h5")
    done = emofuse(installed, tmp_path, "models", "gated")
    assert "the mean over time of each modality, mixed by a learned gate" in done.stdout.casefold()
    task = ["--store", "tiny.h5", "--protocol", protocol_file(tmp_path), "--text", "bert", "--steps", "5"]
    done = emofuse(installed, tmp_path, "fit", *task, "--model", "gated", "--set", "width=8", "--out", "run")
    assert (done.returncode, (tmp_path / "run" / "report.html").exists()) == (0, True), done.stderr


def test_without_the_package_the_names_are_unknown(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MAIN, "models", "gated"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "no model named 'gated'" in done.stderr) == (2, True)

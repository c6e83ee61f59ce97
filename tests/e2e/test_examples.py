"""docs/examples: a corpus, an encoder, a protocol and a model of another package, installed and used as a lab would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import commands
import numpy as np
import pytest
import soundfile
from paths import ROOT
from train_samples import protocol_file, store

from emofuse.datasets.registry import CORPORA
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.manifests.protocol_files import FILES
from emofuse.train.models.registry import MODELS

EXAMPLES = ROOT / "docs" / "examples"


REGISTRIES = (CORPORA, ENCODERS, MODELS, FILES)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, installed by pip into a folder of their own."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [*pip, "--target", str(folder / "site"), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process finds the installed examples, as one does that starts now."""
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield
    forget()


def forget() -> None:
    """Have every registry look for plugins again."""
    for registry in REGISTRIES:
        vars(registry).pop("_plugins", None)
        for name in [entry for entry, known in registry._entries.items() if known.package]:
            del registry._entries[name]


@pytest.mark.parametrize("name", ["tones_corpus.py", "energy_encoder.py", "gated_fusion.py"])
def test_each_example_is_one_short_file(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def test_a_corpus_and_an_encoder_of_another_package(installed: None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for speaker in ("anna", "ben", "carl", "dora"):
        (tmp_path / "tones" / speaker).mkdir(parents=True)
        for n in range(8):
            label, hertz = (("low", 150), ("high", 2000))[n % 2]
            wave = np.sin(2 * np.pi * hertz * np.arange(8000) / 16000) + 0.01 * rng.standard_normal(8000)
            soundfile.write(tmp_path / "tones" / speaker / f"{label}_{n:02d}.wav", 0.5 * wave, 16000)
    soundfile.write(tmp_path / "tones" / "anna" / "noise.wav", rng.standard_normal(800) / 9, 16000)
    done = commands.run("manifest", ["tones", "--root", "tones"], tmp_path)
    assert "not named LABEL_NUMBER.wav" in done.stdout + done.stderr
    corpus = ["--dataset", "tones", "--root", "tones", "--encoder", "energy"]
    done = commands.run("extract", [*corpus, "--store", "tones.h5"], tmp_path)
    assert (done.returncode, "energy: 32 utterances encoded" in done.stdout) == (0, True), done.stderr
    task = ["--store", "tones.h5", "--model", "linear", "--audio", "energy", "--steps", "50"]
    done = commands.run("fit", [*task, "--out", "run"], tmp_path)
    assert (done.returncode, "tones2" in done.stdout) == (0, True), done.stderr
    assert "fold 4 (dora)" in done.stdout


def test_a_model_of_another_package(installed: None, tmp_path: Path) -> None:
    store(tmp_path / "tiny.h5")
    done = commands.run("models", ["gated"])
    assert "the mean over time of each modality, mixed by a learned gate" in done.stdout.casefold()
    task = ["--store", "tiny.h5", "--protocol", protocol_file(tmp_path), "--text", "bert", "--steps", "5"]
    done = commands.run("fit", [*task, "--model", "gated", "--set", "width=8", "--out", "run"], tmp_path)
    assert (done.returncode, (tmp_path / "run" / "report.html").exists()) == (0, True), done.stderr


def test_without_the_package_the_names_are_unknown() -> None:
    done = commands.run("models", ["gated"])
    assert (done.returncode, "no model named 'gated'" in done.stderr) == (2, True)

"""End to end, as a user works: a corpus on disk, `extract`, `fit`, a run folder with a score."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emofuse.datasets.synthetic import write_synthetic
from emofuse.extract.commands.demo import BAND
from emofuse.store import FeatureStore

MODULES = {
    "extract": "emofuse.extract.commands.extract",
    "fit": "emofuse.train.commands.fit",
    "emofuse": "emofuse.common.umbrella",
}


def command(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run one of the three scripts in `folder`; its output, both streams."""
    call = f"import sys; sys.argv[0] = {arguments[0]!r}; from {MODULES[arguments[0]]} import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", call, *arguments[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def metrics(folder: Path) -> dict[str, float]:
    mean = json.loads((folder / "metrics.json").read_text())["mean"]
    assert isinstance(mean, dict)
    return mean


def test_a_small_synthetic_corpus_end_to_end(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "corpora" / "synthetic", utterances=80)
    output = command(tmp_path, "extract", "--dataset", "synthetic", "--encoder", "logmel", "--encoder", "hashed")
    assert "80 in cache/synthetic.h5" in output
    output = command(
        tmp_path, "fit", "--store", "cache/synthetic.h5", "--model", "smcn", "--text", "hashed", "--steps", "6",
        "--allow-missing", "2000", "--out", "run",
    )  # fmt: skip
    assert "UA, mean of the per-class recalls" in output
    files = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"config.json", "metrics.json", "predictions.csv", "history.csv", "fold_1", "fold_4"} <= files
    assert 0 <= metrics(tmp_path / "run")["ua"] <= 1
    with FeatureStore(tmp_path / "cache" / "synthetic.h5") as store:
        assert sorted(store.features) == ["hashed", "logmel"]
    counts = command(tmp_path, "emofuse", "manifest", "synthetic")
    assert "80 utterances with audio and text" in counts
    assert "no damage" in command(tmp_path, "emofuse", "store", "verify", "cache/synthetic.h5")


def test_laid_out_meld_clips_are_decoded_and_the_broken_one_is_listed(shared: Path, tmp_path: Path) -> None:
    if not (shutil.which("espeak-ng") and shutil.which("ffmpeg")):
        pytest.skip("laying out MELD needs espeak-ng and ffmpeg")
    tool = shared / "tools" / "make_corpus.py"
    subprocess.run([sys.executable, str(tool), "meld", str(tmp_path / "meld"), "--limit", "12"], check=True)
    output = command(tmp_path, "extract", "--dataset", "meld", "--root", "meld", "--encoder", "logmel", code=1)
    assert "train_dia125_utt3: audio: is an mp4 file without its index" in output
    with FeatureStore(tmp_path / "cache" / "meld.h5") as store:
        assert len(store.feature("logmel").ids) == 12
        assert store.feature("logmel").frame_rate == 25.0
        assert "train_dia125_utt3" in store.manifest.ids, "its text can still be used"


@pytest.mark.slow
def test_the_demo_scores_in_its_expected_band(tmp_path: Path) -> None:
    output = command(tmp_path, "emofuse", "demo", "--out", "demo")
    (run,) = (tmp_path / "demo").glob("run-*")
    low, high = BAND
    assert low < metrics(run)["ua"] <= high, "README.md promises this band"
    assert f"expected band: {low:.2f} to {high:.2f}" in output


@pytest.mark.slow
def test_real_speech_scores_above_the_documented_threshold(shared: Path, tmp_path: Path) -> None:
    root = str(shared / "data" / "emodb")
    command(tmp_path, "extract", "--dataset", "emodb", "--root", root, "--encoder", "logmel")
    command(tmp_path, "fit", "--store", "cache/emodb.h5", "--model", "audio", "--allow-missing", "172",
            "--steps", "600", "--seeds", "3", "--out", "run")  # fmt: skip
    assert metrics(tmp_path / "run")["ua"] > 0.70


@pytest.mark.slow
def test_real_transcripts_score_above_a_logistic_regression(shared: Path, tmp_path: Path) -> None:
    root = str(shared / "data" / "meld")
    command(tmp_path, "extract", "--dataset", "meld", "--root", root, "--encoder", "minilm")
    command(tmp_path, "fit", "--store", "cache/meld.h5", "--model", "text", "--protocol", "meld7", "--out", "run")
    assert metrics(tmp_path / "run")["wf1"] > 0.556

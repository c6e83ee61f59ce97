"""On the synthetic corpus, every fusion beats the best possible scores of single modalities, which are known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emofuse.datasets.synthetic import best_scores, write_synthetic
from emofuse.train.api import fit
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig

torch.set_num_threads(1)

FUSIONS = [e.name for e in MODELS if e.value.needs == "all" and len(e.value.modalities) == 2]
SETTINGS = {
    "mmrbn": ("lr=2e-4", "width=64", "feedforward=128"),
    # At its own width and a rate of 1e-3 it learns too (0.61 after 1200 steps), but its validation UA varies between
    # 0.37 and 0.67, so rounding on different machines decides the result of 500 steps: 0.47 and 0.52 were measured.
    "mcfn": ("lr=3e-4", "width=64"),
    # At its own depth it needs far more steps than a test can take, and does not learn at a rate of 1e-3.
    "ks-transformer": ("lr=2e-4", "width=64", "heads=4", "encoder_layers=1", "fusion_layers=1"),
    "msmser": ("lr=2e-4", "batch=32", "width=128", "heads=4", "feedforward=256"),
    "lmf": ("lr=3e-3",),
    "tfn": ("lr=3e-3",),
}
STEPS = {"msmser": 700, "mcfn": 600}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic(folder / "corpus")
    encoders = [word for name in ("logmel", "logmel-mcfn", "hashed") for word in ("--encoder", name)]
    command = ["--dataset", "synthetic", "--root", str(folder / "corpus"), *encoders, "--store", str(folder / "s.h5")]
    call = "from emofuse.extract.commands.extract import main; main()"
    subprocess.run([sys.executable, "-c", call, *command], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder / "s.h5"


@pytest.mark.slow
@pytest.mark.parametrize("name", FUSIONS)
def test_a_fusion_beats_the_best_possible_score_of_either_modality(store: Path, name: str, tmp_path: Path) -> None:
    asked = FitConfig(
        store=store,
        model=name,
        audio="logmel-mcfn" if name == "mcfn" else "logmel",
        text="hashed",
        folds="1",
        steps=STEPS.get(name, 300),
        settings=SETTINGS.get(name, ("lr=1e-3",)),
        device="cpu",
        out=tmp_path / "run",
    )
    best = max(best_scores()[modality] for modality in ("audio", "text"))
    two_standard_errors = 2 * (best * (1 - best) / 480) ** 0.5  # of the fold's 480 test utterances
    assert fit(asked, say=lambda line: None).metrics["mean"]["ua"] > best + two_standard_errors

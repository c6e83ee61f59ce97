"""Real small runs that the tests of leaderboards share, and copies of them to alter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import evaluation_samples
import pytest
import train_samples as samples
from damage import Damage
from train_samples import config, quietly

from emofuse.train import Run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs of one task and others apart: two models, two features, two seeds; a shuffled, a short one, an
    evaluation in a folder below, and one of some folds."""
    folder = tmp_path_factory.mktemp("leaderboard")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    evaluation_samples.other_store(folder / "other.h5")
    for name, model, options in (
        ("concat", "concat", {"report": True}),
        ("audio", "audio", {"report": True}),
        ("audio-seeds", "audio", {"seeds": 2, "steps": 3}),
        ("text", "text", {}),
        ("shuffled", "concat", {"shuffle": "labels"}),
        ("short", "audio", {"limit": 32}),
        ("two-folds", "text", {"folds": "1,2"}),
    ):
        quietly(config(folder, name, model, **({"steps": 2} | options)))
    evaluation_samples.on_other(Run.open(folder / "text"), "below/evaluated")
    return folder


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies a run into an empty folder of this test, and damages files of the copy."""

    def copy(name: str, to: str, **damages: Damage) -> Path:
        target = tmp_path / "runs" / to
        shutil.copytree(runs / name, target)
        for file, damage in damages.items():
            damage(target / f"{file}.json")
        return target

    return copy

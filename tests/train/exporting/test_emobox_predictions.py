"""Test predictions in EmoBox's form: keys, class numbers, and the scores that EmoBox computes from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commands
import pytest
import train_samples as samples
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from train_samples import config, quietly


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    return quietly(config(folder, "run", "linear", audio="logmel", seeds=2, metrics="wa,ua,micro_f1,macro_f1"))


def export(run: Path, out: Path, *options: str) -> Any:
    return commands.run("export", ["--run", str(run), "--format", "emobox-predictions", "--out", str(out), *options])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_emobox_scores_the_predictions_as_the_run_does(run: Path, tmp_path: Path) -> None:
    done = export(run, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out/label2idx.json") == {name: i for i, name in enumerate(samples.CLASSES)}
    ours = read(tmp_path / "out/scores.json")["folds"]
    for seed in (0, 1):
        metrics = read(run / f"seed_{seed}/metrics.json")
        for fold in metrics["folds"]:
            folder = tmp_path / f"out/seed_{seed}/fold_{fold['fold']}"
            predictions, labels = read(folder / "predictions.json"), read(folder / "labels.json")
            assert [p["key"] for p in predictions] == [row["key"] for row in labels]
            assert all(p["key"].startswith("tiny-s") for p in predictions)
            target, guess = [row["label"] for row in labels], [p["pred"] for p in predictions]
            emobox = {
                "wa": accuracy_score(target, guess),
                "ua": balanced_accuracy_score(target, guess),
                "micro_f1": f1_score(target, guess, average="micro"),
                "macro_f1": f1_score(target, guess, average="macro"),
            }
            (scored,) = (s for s in ours if (s["seed"], s["fold"]) == (f"seed_{seed}", fold["fold"]))
            assert scored["num"] == len(labels) == 16
            for name, value in emobox.items():
                assert scored[name] == pytest.approx(value, abs=1e-12)
                assert fold["test"][name] == pytest.approx(value, abs=1e-12)


def test_one_fold_and_what_is_refused(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path / "one", "--fold", "2").returncode == 0
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["label2idx.json", "scores.json", "seed_0", "seed_1"]
    assert [p.name for p in (tmp_path / "one/seed_0").iterdir()] == ["fold_2"]
    for option, message in (("--fold=9", "has no fold 9; valid: 1, 2, 3, 4"), ("--refit", "no test predictions")):
        done = export(run, tmp_path / "no", option)
        assert done.returncode == 2
        assert message in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["one"]

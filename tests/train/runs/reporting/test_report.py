"""What a run reports besides its scores: several seeds, a reduced task, a fold that predicts one class only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import train_samples as samples
from train_samples import config, quietly, rows

from emofuse.store import FeatureData
from emofuse.train.api import fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def test_several_seeds_are_separate_runs_and_a_mean(folder: Path) -> None:
    lines: list[str] = []
    done = fit(config(folder, "seeds", "text", seeds=2, seed=7, folds="1"), say=lines.append)
    each = [json.loads((done.folder / f"seed_{s}" / "metrics.json").read_text()) for s in (7, 8)]
    assert [e["seed"] for e in each] == [7, 8]
    assert done.metrics["mean"]["ua"] == pytest.approx(np.mean([e["mean"]["ua"] for e in each]))
    assert done.metrics["std"]["ua"] == pytest.approx(np.std([e["mean"]["ua"] for e in each], ddof=1))
    alone, file = quietly(config(folder, "seed 7", "text", seed=7, folds="1")), Path("fold_1") / "model.safetensors"
    assert (done.folder / "seed_7" / file).read_bytes() == (alone / file).read_bytes()
    text = "\n".join(lines)
    assert "mean ± std over seeds" in text
    assert "95 % interval over 1 session, then dialogues" in text


def test_several_seeds_leave_a_report_and_all_predictions_in_the_upper_folder(folder: Path) -> None:
    done = fit(config(folder, "seeds-top", "text", seeds=3, folds="1,2", steps=4, report=True), say=lambda line: None)
    assert {p.name for p in done.folder.iterdir()} == samples.RUN_FILES | samples.REPORT_FILES | {
        f"seed_{s}" for s in (0, 1, 2)
    }
    predictions = rows(done.folder / "predictions.csv")
    for seed in ("0", "1", "2"):
        mine = [{k: v for k, v in r.items() if k != "seed"} for r in predictions if r["seed"] == seed]
        assert mine == rows(done.folder / f"seed_{seed}" / "predictions.csv")
    history = rows(done.folder / "history.csv")
    assert {(r["seed"], r["fold"]) for r in history} == {(s, f) for s in "012" for f in "12"}
    assert len(history) == 24
    each = [json.loads((done.folder / f"seed_{s}" / "metrics.json").read_text()) for s in (0, 1, 2)]
    assert done.metrics["confusion"] == np.sum([e["confusion"] for e in each], axis=0).tolist()
    low, high = done.metrics["interval"]["ua"]
    assert low <= done.metrics["pooled"]["ua"] <= high
    page = (done.folder / "report.html").read_text()
    assert "mean ± std over seeds" in page
    assert f"{done.metrics['mean']['ua']:.3f} ± {done.metrics['std']['ua']:.3f}" in page
    assert "UA of each fold under each seed" in page


def test_a_fold_that_predicts_one_class_only_is_marked(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    silent = {u.id: np.zeros((3, 5), np.float32) for u in samples.utterances()}
    features = {"bert": FeatureData(modality="text", arrays=silent)}
    store = samples.store(tmp_path / "silent.h5", features=features)
    done = fit(config(folder, "one-class", "text", store=store, steps=2, folds="1", report=True), say=lines.append)
    (fold,) = done.metrics["folds"]
    (only,) = {r["prediction"] for r in rows(done.folder / "predictions.csv")}
    assert fold["predicts_only"] == only
    assert any(f"predicts one class only: {only}" in line for line in lines)
    assert f"predicts one class only: {only}" in (done.folder / "report.html").read_text()


def test_a_reduced_task_is_declared_wherever_its_scores_are_shown(folder: Path, tmp_path: Path) -> None:
    protocol = samples.protocol_file(tmp_path, f"{samples.TOML}\n[expected]\ntotal = 70\nclasses = {{ ang = 22 }}\n")
    counts = "hap = 16, neu = 16, sad = 16"
    Path(protocol).write_text(Path(protocol).read_text().replace("ang = 22", f"ang = 22, {counts}"))
    lines: list[str] = []
    asked = config(folder, "reduced", "text", protocol=protocol, allow_missing=9, steps=2, folds="1", report=True)
    done = fit(asked, say=lines.append)
    differences = ["utterances in all: found 64, expected 70", "class ang: found 16, expected 22"]
    assert any(line.startswith("reduced   64 of 70 expected") and differences[1] in line for line in lines)
    assert any("text on tiny4, reduced task: 64 of 70 expected utterances" in line for line in lines)
    declared = {"found": 64, "expected": 70, "allow_missing": 9, "differences": differences}
    assert json.loads((done.folder / "metrics.json").read_text())["reduced"] == declared
    stored = json.loads((done.folder / "config.json").read_text())
    assert (stored["allow_missing"], stored["differences"]) == (9, differences)
    page = (done.folder / "report.html").read_text()
    assert page.count("Reduced task: 64 of 70 expected utterances") == 1
    assert differences[1] in page


def test_a_whole_task_is_not_called_reduced(folder: Path) -> None:
    run = quietly(config(folder, "whole", "text", steps=2, folds="1", report=True))
    assert json.loads((run / "metrics.json").read_text())["reduced"] == {}
    assert "educed task" not in (run / "report.html").read_text()

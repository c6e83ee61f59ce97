"""Honest scores: the test side is touched once and last, and equal seeds give equal numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from train_samples import config, quietly, rows

from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.targets.target import Target
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import model_file
from emofuse.train.fitting.loop import predict
from emofuse.train.fitting.scoring import score_test
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.verification.verify import verify_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return quietly(config(folder, "base", "smcn", optimism=True))


def test_a_checkpoint_alone_gives_the_predictions_again(run: Path, folder: Path) -> None:
    model, recipe, statistics = model_file.load(run / "fold_2" / "model.safetensors")
    assert (recipe.model, recipe.classes, list(statistics)) == ("smcn", samples.CLASSES, ["audio"])
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, config(folder, "x", "smcn"))
        corpus = Loader(plan).task_data(plan.folds[0]).with_statistics(statistics)
    test = [i for i, u in enumerate(plan.utterances) if u.session == "2"]
    probabilities, _ = predict(model, corpus, np.array(test))
    written = [r for r in rows(run / "predictions.csv") if r["fold"] == "2"]
    for row, p in zip(written, probabilities, strict=True):
        assert [float(row[f"p_{c}"]) for c in samples.CLASSES] == pytest.approx(p.tolist(), abs=1e-6)


def test_a_foreign_or_damaged_checkpoint_is_refused(tmp_path: Path, run: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(DataError, match="is not an emofuse checkpoint"):
        model_file.load(tmp_path / "foreign.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((run / "fold_1" / "model.safetensors").read_bytes()[:500])
    with pytest.raises(DataError, match="is not a readable checkpoint"):
        model_file.load(tmp_path / "cut.safetensors")


def test_optimism_is_the_best_checkpoint_on_test_and_is_reported_beside_the_score(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["optimistic"]["mean"]["ua"] >= metrics["mean"]["ua"]
    assert "never a score" in metrics["optimistic"]["warning"]
    for fold in metrics["folds"]:
        found = json.loads((run / f"fold_{fold['fold']}" / "optimism.json").read_text())
        assert len(found["checkpoints"]) == 10
        assert found["best"]["ua"] == max(row["ua"] for row in found["checkpoints"]) >= fold["test"]["ua"]
        (selected,) = [row for row in found["checkpoints"] if row["step"] == fold["step"]]
        assert selected == pytest.approx({k: fold["test"][k] for k in selected if k != "step"} | {"step": fold["step"]})


def test_checkpoints_are_removed_when_they_are_scored_unless_they_are_kept(run: Path, folder: Path) -> None:
    assert not (run / "fold_1" / "checkpoints").exists()
    kept = quietly(config(folder, "kept", "smcn", folds="1", optimism=True, keep_checkpoints=True))
    assert len([*(kept / "fold_1" / "checkpoints").glob("step-*.safetensors")]) == 10
    assert verify_run(kept).problems == verify_run(run).problems == ()
    scored = [json.loads((r / "fold_1" / "optimism.json").read_text()) for r in (kept, run)]
    assert scored[0] == scored[1]


def test_a_kill_while_checkpoints_are_removed_loses_no_score(run: Path, folder: Path, tmp_path: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        corpus = Loader(plan := resolve(store, config(folder, "x"))).task_data(plan.folds[0])
    (tmp_path / "checkpoints").mkdir()
    for name in ("result.json", "optimism.json"):
        (tmp_path / name).write_bytes((run / "fold_1" / name).read_bytes())
    (tmp_path / "checkpoints" / "step-000099.part").write_bytes(b"not removed yet")
    best = score_test.score_all_checkpoints(tmp_path, Target(classes=samples.CLASSES), corpus, np.arange(4), "ua")
    assert best == json.loads((tmp_path / "optimism.json").read_text())["best"]
    assert not (tmp_path / "checkpoints").exists()


def test_keeping_checkpoints_needs_optimism(folder: Path) -> None:
    with pytest.raises(UsageError, match="belongs to optimism"):
        quietly(config(folder, "y", "smcn", keep_checkpoints=True))


def test_optimism_changes_neither_weights_nor_score(run: Path, folder: Path) -> None:
    without = quietly(config(folder, "without", "smcn", folds="1"))
    assert weights(without) == weights(run)
    assert not (without / "fold_1" / "checkpoints").exists()


def weights(run: Path, fold: int = 1) -> bytes:
    return (run / f"fold_{fold}" / "model.safetensors").read_bytes()


def held_out(data: TaskData) -> score_test.HeldOutSide:
    return score_test.HeldOutSide(
        data=data, indices=np.arange(4), ids=list("abcd"), target=Target(classes=samples.CLASSES)
    )


def test_the_test_side_cannot_be_scored_before_the_selection_is_written(folder: Path, tmp_path: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, config(folder, "x"))
        corpus = Loader(plan).task_data(plan.folds[0])
    with pytest.raises(RuntimeError, match=r"before selection.json is written"):
        score_test.score_test(tmp_path, held_out(corpus), {"fold": 1})
    with pytest.raises(RuntimeError, match=r"only after result.json is written"):
        score_test.score_all_checkpoints(tmp_path, Target(classes=samples.CLASSES), corpus, np.arange(4), "ua")


def test_the_test_side_is_scored_once(run: Path, folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, config(folder, "x"))
        corpus = Loader(plan).task_data(plan.folds[0])
    with pytest.raises(RuntimeError, match="scored already"):
        score_test.score_test(run / "fold_1", held_out(corpus), {"fold": 1})


@pytest.mark.parametrize("select", ["validation", "last"])
def test_test_labels_have_no_influence_on_training_and_selection(folder: Path, tmp_path: Path, select: Any) -> None:
    turned = tuple(
        replace(u, label=samples.CLASSES[(samples.CLASSES.index(str(u.label)) + 1) % 4]) if u.session == "1" else u
        for u in samples.utterances()
    )
    arrays = {"logmel": samples.frames(samples.utterances(), 0), "bert": samples.frames(samples.utterances(), 1, 5)}
    features = {
        "logmel": FeatureData(modality="audio", arrays=arrays["logmel"], encoder="logmel-smcn"),
        "bert": FeatureData(modality="text", arrays=arrays["bert"], encoder="bert"),
    }
    one = samples.store(tmp_path / "one.h5", features=features)
    two = samples.store(tmp_path / "two.h5", turned, features=features)
    runs = [quietly(config(folder, f"{select}-{s.stem}", store=s, folds="1", select=select)) for s in (one, two)]
    assert weights(runs[0]) == weights(runs[1])
    selections = [(r / "fold_1" / "selection.json").read_text() for r in runs]
    assert selections[0] == selections[1]
    scored = [json.loads((r / "metrics.json").read_text())["mean"]["ua"] for r in runs]
    assert scored[0] > scored[1]


@pytest.mark.parametrize("model", ["smcn", "linear"])
def test_the_same_seed_gives_the_same_numbers(folder: Path, model: str) -> None:
    extra = {"audio": "logmel", "text": "bert", "folds": "2,3"}
    runs = [
        quietly(config(folder, f"{model}-{name}", model, seed=seed, **extra))
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    assert weights(runs[0], 3) == weights(runs[1], 3) != weights(runs[2], 3)
    texts = [(r / "predictions.csv").read_bytes() for r in runs]
    assert texts[0] == texts[1] != texts[2]


def test_a_fold_does_not_depend_on_which_other_folds_run(run: Path, folder: Path) -> None:
    alone = quietly(config(folder, "alone", "smcn", folds="3"))
    assert weights(alone, 3) == weights(run, 3)


def test_a_lab_can_read_the_weights_of_a_run(run: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()  # with this user's usual permissions
    assert (run / "fold_1" / "model.safetensors").stat().st_mode == plain.stat().st_mode

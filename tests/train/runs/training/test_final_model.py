"""`fit --final`: one model on all data, added to a finished run without repeating anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples
from train_samples import config, quietly, rows

from emofuse.common.disk.digests import digest_of, files_in, read_digests
from emofuse.common.errors import UsageError
from emofuse.train.api import fit
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import loop
from emofuse.train.fitting.step import Stepper
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.trained_models import mean_values, trained_models
from emofuse.train.runs.training import final_model
from emofuse.train.runs.verification.verify import verify_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("final")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture(scope="module")
def asked(folder: Path) -> FitConfig:
    return config(folder, "base", "audio", seeds=2, folds="1,2", steps=20, seed=3, report=True)


def test_the_final_model_trains_on_all_data_for_the_mean_of_the_selected_steps(asked: FitConfig) -> None:
    before = quietly(asked)
    weights = {path: path.read_bytes() for path in before.rglob("fold_*/model.safetensors")}
    lines: list[str] = []
    run = fit(replace(asked, final=True), say=lines.append)
    assert run.folder == before
    assert lines[0].startswith("already done: ")
    assert {path: path.read_bytes() for path in weights} == weights
    found = json.loads((before / "final" / "final.json").read_text())
    steps = [
        fold["step"]
        for seed in (3, 4)
        for fold in json.loads((before / f"seed_{seed}/metrics.json").read_text())["folds"]
    ]
    assert (found["selected_steps"], found["steps"]) == (steps, round(np.mean(steps)))
    assert (found["seed"], found["utterances"]) == (3, 64)
    assert lines[-1].startswith(f"final: {before}/final/model.safetensors, trained on all 64 utterances for ")
    assert int(rows(before / "final" / "history.csv")[-1]["step"]) == found["steps"]
    assert run.metrics["final"] == {key: found[key] for key in ("steps", "rule", "seed", "utterances")}
    assert Run.open(before) == run
    assert not (before / ".final.part").exists()


def test_its_statistics_are_those_of_all_data_and_it_predicts(asked: FitConfig) -> None:
    run = fit(replace(asked, final=True), say=lambda line: None)
    (model,) = trained_models(run, final=True)
    assert (model.seed, model.fold) == (3, None)
    every = np.concatenate([*samples.frames(samples.utterances(), 0).values()])
    mean, deviation = model.statistics["audio"]
    np.testing.assert_allclose(mean, every.mean(0), atol=1e-3)
    np.testing.assert_allclose(deviation, every.std(0), atol=1e-3)
    with resolved(asked) as plan:
        data, indices = Loader(plan).task_data(plan.folds[0]), np.arange(5)
        assert mean_values([model], data, indices)[0].sum(1) == pytest.approx(1)


def test_a_run_with_a_final_model_is_already_done_and_says_whose_score_it_has(asked: FitConfig) -> None:
    run = fit(replace(asked, final=True), say=lambda line: None)
    before = {p: p.stat().st_mtime_ns for p in [run.folder, *run.folder.rglob("*")]}
    lines: list[str] = []
    assert fit(replace(asked, final=True), say=lines.append) == run
    assert {p: p.stat().st_mtime_ns for p in before} == before
    mark = "cores of cross-validation; the final model, trained on all data, has none of its own"
    assert mark in "\n".join(lines)
    assert mark in (run.folder / "report.html").read_text()
    assert fit(asked, say=lambda line: None) == run, "the same run without --final"


def test_its_files_are_among_the_digests_of_the_run(asked: FitConfig) -> None:
    run = fit(replace(asked, final=True), say=lambda line: None)
    recorded = read_digests(run.folder)
    assert recorded is not None
    assert recorded == {name: digest_of(run.folder / name) for name in files_in(run.folder)}
    assert run.metrics["weights"]["final/model.safetensors"] == recorded["final/model.safetensors"]


def test_a_call_that_is_stopped_while_it_writes_the_report_is_completed_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(folder, "report", "text", steps=2, folds="1", report=True)
    quietly(asked)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(final_model, "write_report", stop)
        with pytest.raises(KeyboardInterrupt):
            quietly(replace(asked, final=True))
    assert "final" in Run.open(folder / "report").metrics
    assert verify_run(folder / "report").problems
    assert quietly(replace(asked, final=True)) == folder / "report"
    assert verify_run(folder / "report").problems == ()


def test_without_validation_it_trains_the_fixed_steps(folder: Path) -> None:
    run = fit(config(folder, "last", "text", select="last", steps=7, folds="1", final=True), say=lambda line: None)
    assert (run.metrics["final"]["steps"], run.metrics["final"]["rule"]) == (7, "the fixed number of --select last")


def test_an_interrupted_final_model_resumes_to_the_same_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(folder, "whole", "text", steps=30, folds="1", select="last", final=True)
    whole = quietly(asked)
    with monkeypatch.context() as patch:
        patch.setattr("emofuse.common.disk.training_checkpoint.SECONDS", 0.0)
        patch.setattr("emofuse.common.disk.training_checkpoint.SHARE", 0)
        step = loop._Trainer.train_step

        def stop(trainer: loop._Trainer, number: int, batch: Any) -> None:
            if trainer._job.stop and trainer._state.step == 15:
                raise KeyboardInterrupt
            step(trainer, number, batch)

        patch.setattr(loop._Trainer, "train_step", stop)
        with pytest.raises(KeyboardInterrupt):
            quietly(replace(asked, out=folder / "cut"))
    assert (folder / "cut" / ".final.part" / "training.safetensors").exists()
    cut = quietly(replace(asked, out=folder / "cut"))
    name = "final/model.safetensors"
    assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_without_a_final_model_says_how_to_add_it(folder: Path) -> None:
    run = Run.open(quietly(config(folder, "none", "text", steps=2, folds="1")))
    with pytest.raises(UsageError, match=r"has no final model.*repeat its fit command with --final"):
        trained_models(run, final=True)


def test_schedules_of_a_model_stay_those_of_the_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = Stepper.step

    def watched(stepper: Stepper, data: Any, batch: Any, progress: float, number: int) -> Any:
        seen.append(progress)
        return step(stepper, data, batch, progress, number)

    run = fit(config(folder, "schedule", "text", steps=20, folds="1"), say=lambda line: None)
    monkeypatch.setattr(Stepper, "step", watched)
    fit(config(folder, "schedule", "text", steps=20, folds="1", final=True), say=lambda line: None)
    assert seen == [k / 20 for k in range(run.metrics["folds"][0]["step"])]

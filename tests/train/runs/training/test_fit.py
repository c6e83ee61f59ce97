"""Whole runs on the small corpus: the files they write, resuming, learning."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from train_samples import config, quietly, rows

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import METRICS, scores
from emofuse.store import FeatureData
from emofuse.train.api import fit
from emofuse.train.fitting.loop import evaluation_steps
from emofuse.train.resolve.config import FitConfig

pytestmark = pytest.mark.charts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return quietly(config(folder, "base", "smcn", optimism=True, report=True))


def test_a_run_folder_holds_the_documented_files_and_no_pickle(run: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert names == samples.RUN_FILES | samples.REPORT_FILES | {f"fold_{k}" for k in (1, 2, 3, 4)}
    kinds = {p.suffix for p in run.rglob("*") if p.is_file()}
    assert kinds == {".json", ".csv", ".png", ".html", ".safetensors"}
    assert (run / "fold_1" / "model.safetensors").is_file()
    assert not run.with_name("base.part").exists()


def test_config_is_the_resolved_one(run: Path) -> None:
    found = json.loads((run / "config.json").read_text())
    settings = found["run"]["settings"]
    assert (settings["steps"], settings["lr"], settings["max_frames"], settings["mse"]) == (20, 0.01, 500, "mean")
    assert found["run"]["features"]["audio"]["name"] == "logmel"
    assert found["run"]["standardised"] == ["audio"]
    (call,) = found["calls"]
    assert (call["versions"]["torch"], call["device"], call["threads"]) == (torch.__version__, "cpu", 1)


def test_metrics_follow_from_the_predictions(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    predictions = rows(run / "predictions.csv")
    index = {c: i for i, c in enumerate(samples.CLASSES)}
    labels, found = (np.array([index[r[k]] for r in predictions]) for k in ("label", "prediction"))
    of_labels = scores(labels, found)
    assert {k: metrics["pooled"][k] for k in of_labels} == pytest.approx(of_labels)
    fold = np.array([int(r["fold"]) for r in predictions])
    each = [scores(labels[fold == k], found[fold == k]) for k in (1, 2, 3, 4)]
    assert metrics["mean"]["ua"] == pytest.approx(np.mean([s["ua"] for s in each]))
    assert metrics["std"]["ua"] == pytest.approx(np.std([s["ua"] for s in each], ddof=1))
    assert set(metrics["mean"]) == set(metrics["pooled"]) == set(METRICS)
    low, high = metrics["interval"]["wa"]
    assert low <= metrics["pooled"]["wa"] <= high
    interval = metrics["interval"]
    assert [interval[k] for k in ("unit", "units", "inner_unit", "trusted")] == ["session", 4, "dialogue", False]


def test_every_utterance_is_predicted_once_by_the_fold_that_holds_its_session_out(run: Path) -> None:
    predictions = rows(run / "predictions.csv")
    assert sorted(r["id"] for r in predictions) == sorted(u.id for u in samples.utterances())
    assert all(r["id"].startswith(f"s{r['fold']}_") for r in predictions)
    for row in predictions:
        probabilities = {c: float(row[f"p_{c}"]) for c in samples.CLASSES}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert probabilities[row["prediction"]] == max(probabilities.values())


def test_history_has_ten_evaluation_steps_per_fold_and_the_best_was_selected(run: Path) -> None:
    history = rows(run / "history.csv")
    assert len(history) == 40
    for k in ("1", "2", "3", "4"):
        mine = [r for r in history if r["fold"] == k]
        assert [int(r["step"]) for r in mine] == evaluation_steps(20)
        values = [float(r["validation_ua"]) for r in mine]
        selection = json.loads((run / f"fold_{k}" / "selection.json").read_text())
        assert selection["step"] == int(mine[int(np.argmax(values))]["step"])
        assert selection["validation"]["ua"] == max(values)


@pytest.mark.parametrize(("steps", "expected"), [(2500, list(range(250, 2501, 250))), (3, [1, 2, 3]), (1, [1])])
def test_evaluation_steps_are_ten_evenly_spaced_and_end_at_the_last_step(steps: int, expected: list[int]) -> None:
    assert evaluation_steps(steps) == expected


def test_the_report_is_one_file_that_needs_no_other(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page)
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{metrics['pooled']['ua']:.3f}" in page
    assert "UA: mean of the per-class recalls." in page
    assert (run / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_text_from_a_protocol_is_escaped_in_the_report(folder: Path, tmp_path: Path) -> None:
    source = "<script>alert('x')</script>"
    text = samples.TOML.replace("made for the tests", source)
    protocol = samples.protocol_file(tmp_path, text)
    page = (
        quietly(config(folder, "escaped", "text", protocol=protocol, steps=2, folds="1", report=True)) / "report.html"
    ).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def weights(run: Path, fold: int = 1) -> bytes:
    return (run / f"fold_{fold}" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_fusion_beats_both_modalities_if_each_holds_half_of_the_information(folder: Path) -> None:
    options: dict[str, Any] = {"steps": 50, "folds": "1"}
    found = {
        model: fit(config(folder, f"learn-{model}", model, **options), say=lambda line: None).metrics["mean"]["ua"]
        for model in ("audio", "text", "concat", "smcn")
    }
    assert found["audio"] < 0.7
    assert found["text"] < 0.7
    assert min(found["concat"], found["smcn"]) > 0.85


def test_last_trains_on_every_other_session_and_takes_the_last_step(folder: Path) -> None:
    out = quietly(config(folder, "last", select="last", folds="1"))
    (fold,) = json.loads((out / "metrics.json").read_text())["folds"]
    assert fold["utterances"] == {"train": 48, "validation": 0, "test": 16}
    assert fold["step"] == 20
    assert fold["validation"] is None


@pytest.mark.slow
def test_balanced_class_weights_help_the_rare_class(tmp_path: Path) -> None:
    every = samples.utterances(32)
    rare = tuple(u for i, u in enumerate(every) if u.label in ("ang", "hap") and (u.label == "ang" or i % 32 < 8))
    noisy = {
        i: a * 0.15 + np.random.default_rng(n).standard_normal(a.shape).astype(np.float32)
        for n, (i, a) in enumerate(samples.frames(rare, 0).items())
    }
    store = samples.store(tmp_path / "s.h5", rare, features={"logmel": FeatureData(modality="audio", arrays=noisy)})
    protocol = samples.protocol_file(tmp_path, samples.TOML.replace('["ang", "hap", "neu", "sad"]', '["ang", "hap"]'))
    found = {}
    for kind in ("none", "balanced"):
        options = {
            "store": store,
            "protocol": protocol,
            "class_weights": kind,
            "select": "last",
            "settings": ("lr=0.003",),
        }
        done = fit(config(tmp_path, kind, "audio", **options), say=lambda line: None)
        found[kind] = done.metrics["recall"]["hap"]
    assert found["balanced"] > found["none"] + 0.1


def test_every_call_of_a_resumed_run_is_recorded(folder: Path) -> None:
    asked = interrupted(folder, "calls", steps=60)
    out = quietly(replace(asked, threads=1))
    calls = json.loads((out / "config.json").read_text())["calls"]
    assert [c["device"] for c in calls] == ["cpu", "cpu"]
    assert all({"threads", "versions", "machine", "started"} <= c.keys() for c in calls)
    results = [json.loads((out / f"fold_{k}" / "result.json").read_text())["call"] for k in (1, 2, 3, 4)]
    assert results == [1, 2, 2, 2]


def test_a_finished_run_is_not_overwritten(run: Path, folder: Path) -> None:
    before = (run / "metrics.json").stat().st_mtime_ns
    expected = "already exists and is a run with different optimism; read it, delete it, or give another --out"
    with pytest.raises(UsageError, match=expected):
        quietly(config(folder, "base", "smcn"))
    assert (run / "metrics.json").stat().st_mtime_ns == before


def test_a_finished_run_is_printed_again_and_nothing_is_written(run: Path, folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in [run, *run.rglob("*")]}
    lines: list[str] = []
    done = fit(config(folder, "base", "smcn", optimism=True, report=True), say=lines.append)
    assert lines[0].startswith("already done: ")
    assert lines[-1] == f"run: {run}"
    assert done.metrics == json.loads((run / "metrics.json").read_text())
    assert any(f"{done.metrics['pooled']['ua']:.3f}" in line for line in lines)
    assert {p: p.stat().st_mtime_ns for p in [run, *run.rglob("*")]} == before
    assert not list(folder.glob("*.lock"))


def interrupted(folder: Path, name: str, **options: Any) -> FitConfig:
    """A fit stopped by Ctrl-C after its second fold has started to train."""
    asked = config(folder, name, **options)
    part = folder / f"{name}.part"

    class Stop:
        def write(self, text: str) -> int:
            if "fold 2" in text:
                raise KeyboardInterrupt
            return len(text)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", Stop())
        with pytest.raises(KeyboardInterrupt):
            quietly(asked)
    assert (part / "fold_1" / "result.json").exists()
    assert not (part / "fold_2" / "result.json").exists()
    assert not (folder / name).exists()
    return asked


def test_after_an_interruption_the_same_command_trains_the_missing_folds(folder: Path) -> None:
    asked = interrupted(folder, "resumed", steps=60)
    first = (folder / "resumed.part" / "fold_1" / "result.json").stat().st_mtime_ns
    lines: list[str] = []
    done = fit(asked, say=lines.append)
    assert "1 of 4 folds are already done; continuing with the others" in lines
    assert (done.folder / "fold_1" / "result.json").stat().st_mtime_ns == first
    whole = quietly(config(folder, "whole", steps=60))
    assert (done.folder / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    assert [weights(done.folder, k) for k in (1, 2, 3, 4)] == [weights(whole, k) for k in (1, 2, 3, 4)]


def test_a_half_done_run_is_not_continued_with_other_settings(folder: Path) -> None:
    asked = interrupted(folder, "mixed", steps=60)
    with pytest.raises(UsageError, match=r"unfinished run with different seed, settings \(steps\); repeat its options"):
        quietly(replace(asked, seed=1, steps=61))


def test_without_out_equal_settings_give_the_same_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = config(folder, "x", "text", out=None, folds="1", steps=2)
    out = quietly(asked)
    assert re.fullmatch(r"runs/tiny4-text-[0-9a-f]{8}", str(out))
    assert quietly(replace(asked, seed=1)) != out


def test_a_loss_that_is_not_finite_says_what_to_do(folder: Path) -> None:
    with pytest.raises(UsageError, match="lower the learning rate"):
        quietly(config(folder, "diverged", "linear", audio="logmel", text="bert", settings=("lr=1e30",)))


def test_the_output_says_what_was_fitted_and_defines_its_scores(folder: Path) -> None:
    lines: list[str] = []
    fit(config(folder, "screen", steps=4), say=lines.append)
    text = "\n".join(lines)
    for part in (
        "protocol  tiny4: made for the tests",
        "classes   ang 16, hap 16, neu 16, sad 16; 64 in all",
        "audio     logmel (logmel-smcn), 6-dimensional, 20 frames/s, standardised by training statistics",
        "parameters",
        "1 (1) 32/16/16",
        "best UA on the next session in turn",
        "UA, mean of the per-class recalls.",
        "WA, accuracy over all utterances.",
        "mean ± std over folds",
        "95 % interval over 4 sessions, then dialogues",
        "run: ",
    ):
        assert part in text

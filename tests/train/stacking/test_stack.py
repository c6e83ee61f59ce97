"""Stacking: fitted on validation, scored on test once, a run like any other; and runs that cannot be stacked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples
from commands import run

from emofuse.common.errors import UsageError
from emofuse.train import compare, evaluate, stack, verify_run
from emofuse.train.runs.finished_run import Run
from emofuse.train.stacking.stack import fitted_probabilities


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stack")
    samples.store(made / "tiny.h5", samples.utterances(per_session=64))
    samples.protocol_file(made)
    return made


@pytest.fixture(scope="module")
def audio(folder: Path) -> Run:
    return Run.open(samples.quietly(samples.config(folder, "audio", "linear", audio="logmel", steps=40)))


@pytest.fixture(scope="module")
def text(folder: Path) -> Run:
    return Run.open(samples.quietly(samples.config(folder, "text", "linear", text="bert", steps=40, seeds=2)))


@pytest.fixture(scope="module")
def stacked(folder: Path, audio: Run, text: Run) -> Run:
    return stack(members=[audio.folder, text.folder], out=folder / "stacked", say=quiet)


def test_two_runs_that_each_know_half_of_the_class_know_it_together(stacked: Run, audio: Run, text: Run) -> None:
    alone = max(audio.metrics["pooled"]["ua"], text.metrics["pooled"]["ua"])
    assert alone < 0.7
    assert stacked.metrics["pooled"]["ua"] > alone + 0.1
    assert [m["seeds"] for m in stacked.metrics["stacked"]] == [1, 2]
    assert not verify_run(stacked.folder).problems


def test_each_fold_is_fitted_on_its_validation_side_alone(stacked: Run, audio: Run, text: Run) -> None:
    def logarithms(path: Path, fold: int) -> dict[str, list[float]]:
        table = [row for row in samples.rows(path) if row["fold"] == str(fold)]
        return {r["id"]: np.log(np.clip([float(r[f"p_{c}"]) for c in samples.CLASSES], 1e-6, None)) for r in table}

    def both(name: str, fold: int) -> dict[str, Any]:
        of_audio = logarithms(audio.folder / name, fold)
        seeds = [logarithms(text.folder / f"seed_{seed}" / name, fold) for seed in (0, 1)]
        means = {id: np.log(np.mean(np.exp([s[id] for s in seeds]), axis=0)) for id in seeds[0]}
        return {id: np.concatenate([of_audio[id], means[id]]) for id in of_audio}

    validation, test = both("fold_1/validation.csv", 1), both("fold_1/predictions.csv", 1)
    assert not validation.keys() & test.keys()
    labels = {r["id"]: samples.CLASSES.index(r["label"]) for r in samples.rows(audio.folder / "fold_1/validation.csv")}
    expected = fitted_probabilities(
        np.array(list(validation.values())), np.array([labels[id] for id in validation]), np.array([*test.values()]), 4
    )
    table = {row["id"]: row for row in samples.rows(stacked.folder / "predictions.csv")}
    found = np.array([[float(table[id][f"p_{c}"]) for c in samples.CLASSES] for id in test])
    assert np.allclose(found, expected, atol=2e-6)


def test_a_class_that_validation_does_not_have_gets_no_probability() -> None:
    validation = np.log([[0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])
    found = fitted_probabilities(validation, np.array([0, 2]), validation, 3)
    assert (found[:, 1] == 0).all()
    assert found.argmax(1).tolist() == [0, 2]


def test_a_stack_is_compared_repeated_and_reported_like_a_run(folder: Path, stacked: Run, audio: Run) -> None:
    again = stack(members=[audio.folder, folder / "text"], out=folder / "stacked", say=quiet)
    assert again.metrics == stacked.metrics
    compare(runs=[stacked.folder, audio.folder], say=quiet)
    for given, page in ((folder, "board.html"), (stacked.folder, "page.html")):
        done = run("report", [str(given), "--out", str(folder / page)])
        assert done.returncode == 0, done.stderr
    with pytest.raises(UsageError, match="no trained models"):
        evaluate(run=stacked.folder, store=folder / "tiny.h5", say=quiet)


def refusal(folder: Path, *members: Path) -> str:
    with pytest.raises(UsageError) as caught:
        stack(members=members, out=folder / "no", say=quiet)
    assert not (folder / "no").exists()
    return str(caught.value)


def test_runs_that_cannot_be_stacked_are_all_named(folder: Path, audio: Run, stacked: Run, tmp_path: Path) -> None:
    def fitted(name: str, **options: Any) -> Path:
        return samples.quietly(samples.config(folder, name, "linear", audio="logmel", steps=2, **options))

    last, few = fitted("last", select="last"), fitted("few", folds="1,2")
    sanity = fitted("sanity", shuffle=("labels",))
    message = refusal(folder, audio.folder, last, sanity, stacked.folder, few)
    assert "last was trained without a validation side (--select last)" in message
    assert "sanity is a sanity run" in message
    assert "stacked has no folds of its own" in message
    assert "they have folds 1, 2 and 1, 2, 3, 4: stack runs of the same folds" in message
    shortened = fitted("short", limit=192)
    assert "on the validation side of fold 1, only the second has" in refusal(folder, audio.folder, shortened)
    other = folder / "other.toml"
    other.write_text(samples.TOML.replace('"ua", "wa"', '"wa", "ua"'), encoding="utf-8")
    assert "their protocols differ in metrics, name" in refusal(
        folder, audio.folder, fitted("other", protocol=str(other))
    )


def test_a_run_of_an_earlier_version_is_named(folder: Path, audio: Run, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(audio.folder, old)
    for name in ("digests.json", *(f"fold_{n}/validation.csv" for n in range(1, 5))):
        (old / name).unlink()
    config = (old / "metrics.json").read_text().replace('"weights"', '"no_weights"')
    (old / "metrics.json").write_text(config)
    assert "has no validation.csv in fold 1, 2, 3, 4" in refusal(folder, audio.folder, old)


def test_too_few_and_repeated_runs_are_refused(folder: Path, audio: Run) -> None:
    assert "two or more runs, and 1 is given" in refusal(folder, audio.folder)
    assert "is given twice" in refusal(folder, audio.folder, audio.folder)


def test_validation_predictions_are_those_of_the_selected_weights(audio: Run) -> None:
    for number in range(1, 5):
        table = samples.rows(audio.folder / f"fold_{number}/validation.csv")
        right = np.mean([row["label"] == row["prediction"] for row in table])
        fold = next(f for f in audio.metrics["folds"] if f["fold"] == number)
        assert right == pytest.approx(fold["validation"]["wa"])

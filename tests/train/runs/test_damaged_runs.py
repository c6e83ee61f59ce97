"""A finished run that was altered or damaged: every reader names the file, and none ends in a traceback."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import commands
import pytest
import train_samples as samples
from damage import BROKEN, PICKLE, Damage, edited, replaced, truncated, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paths import ROOT
from train_samples import config, quietly

from emofuse.common.errors import DataError, EmofuseError, UsageError
from emofuse.train.api import fit
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.run_digests import write_digests
from emofuse.train.runs.trained_models import trained_models
from emofuse.train.runs.verification.verify import verify_run

ARCHIVE = next((ROOT / "tests" / "archives" / "run-v0.1.0" / "runs").iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    quietly(config(folder, "run", "text", folds="1,2", steps=4))
    quietly(config(folder, "seeds", "text", folds="1,2", steps=4, seeds=2))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy with a run of one seed, one of two seeds, and the archived run of version 0.1.0."""
    shutil.copytree(ARCHIVE, tmp_path / "old")
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def set_ua(content: Any) -> None:
    content["mean"]["ua"] = 0.999


@pytest.mark.parametrize("run", ["run", "seeds", "old"])
def test_a_whole_run_opens_and_is_right(folder: Path, run: str) -> None:
    opened = Run.open(folder / run)
    assert len(trained_models(opened)) in (2, 4)
    found = verify_run(folder / run)
    assert found.problems == ()
    assert any("weights loaded" in line for line in found.checked)


@pytest.mark.parametrize("run", ["run", "seeds", "old"])
def test_an_edited_score_is_named(folder: Path, run: str) -> None:
    edited(set_ua)(folder / run / "metrics.json")
    with pytest.raises(DataError, match=r"ua is 0\.999, the predictions give 0\.") as error:
        Run.open(folder / run)
    assert ("metrics.json was altered" in str(error.value)) == (run != "old")


def test_an_edited_score_is_not_printed_again(folder: Path) -> None:
    edited(set_ua)(folder / "run" / "metrics.json")
    lines: list[str] = []
    with pytest.raises(DataError, match=r"metrics\.json was altered"):
        fit(config(folder, "run", "text", folds="1,2", steps=4), say=lines.append)
    assert not any("0.999" in line for line in lines)


@pytest.mark.parametrize("name", ["predictions.csv", "config.json", "metrics.json", "history.csv", "digests.json"])
def test_a_finished_run_without_a_file_is_not_done(folder: Path, name: str) -> None:
    (folder / "run" / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing"):
        Run.open(folder / "run")
    with pytest.raises(DataError, match=rf"{name} is missing"):
        fit(config(folder, "run", "text", folds="1,2", steps=4), say=lambda line: None)


EDITS: dict[str, tuple[str, Damage, str]] = {
    "prediction": ("predictions.csv", replaced(",ang,", ",hap,"), "predictions.csv: a prediction that is not|fold 1"),
    "label": ("predictions.csv", replaced(",1,ang,", ",1,xyz,"), "a label that is not a class: 's1_u000': 'xyz'"),
    "probability": ("predictions.csv", replaced("0.", "nan0."), "probabilities that are not numbers from 0 to 1"),
    "fold number": ("predictions.csv", replaced(",1,ang,", ",x,ang,"), "a fold that is not a number: 's1_u000': 'x'"),
    "repeated id": ("predictions.csv", replaced("s1_u001", "s1_u000"), "1 row with the id of another"),
    "fold score": (
        "metrics.json",
        edited(lambda m: m["folds"][0]["test"].update(wa=1.0)),
        "fold 1: wa is 1, the predictions give",
    ),
    "pooled": ("metrics.json", edited(lambda m: m["pooled"].update(wf1=0.5)), "pooled: wf1 is 0.5, the predictions"),
    "deviation": ("metrics.json", edited(lambda m: m["std"].update(ua=None)), "over folds: ua is missing, the"),
    "recall": ("metrics.json", edited(lambda m: m["recall"].update(sad=0.5001)), "recall: sad is 0.5001"),
    "confusion": ("metrics.json", edited(lambda m: m["confusion"][0].reverse()), "the confusion matrix is not that"),
    "nan": ("metrics.json", edited(lambda m: m["mean"].update(ua=float("nan"))), "mean.ua is nan, expected a number"),
    "huge": ("metrics.json", edited(lambda m: m["mean"].update(ua=10**400)), "mean.ua is 1000.*, expected a number"),
    "text": ("metrics.json", edited(lambda m: m["folds"][1].update(step="x")), r"folds\[1\].step is 'x', expected a w"),
    "folds": ("metrics.json", edited(lambda m: m["folds"].pop()), "predictions of fold 2, metrics.json has no such"),
    "no folds": ("metrics.json", edited(lambda m: m.pop("folds")), "neither seeds nor the folds of one seed"),
    "twice": ("metrics.json", edited(lambda m: m["folds"].append(m["folds"][0])), "two folds have the same number"),
    "classes": ("metrics.json", edited(lambda m: m.update(classes=[])), "the classes are not different names"),
    "metric": ("metrics.json", edited(lambda m: m["metrics"].append("auc")), "mean has no auc"),
    "calls": ("config.json", edited(lambda c: c.update(calls={})), "config.json.calls is an object, expected a list"),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_contradicts_the_predictions_is_named_even_with_new_digests(folder: Path, name: str) -> None:
    file, damage, expected = EDITS[name]
    damage(folder / "run" / file)
    write_digests(folder / "run")
    with pytest.raises(DataError, match=expected):
        Run.open(folder / "run")


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("run", ["run", "seeds", "old"])
@pytest.mark.parametrize("name", ["config.json", "metrics.json", "predictions.csv", "digests.json"])
def test_a_broken_file_is_one_data_error_for_every_reader(folder: Path, run: str, name: str, broken: str) -> None:
    BROKEN[broken](folder / run / name) if (folder / run / name).exists() else (folder / run / name).write_text("[")
    with pytest.raises(DataError, match=name):
        Run.open(folder / run)
    assert any(name in problem for problem in verify_run(folder / run).problems)


@pytest.mark.parametrize("damage", [truncated, written(PICKLE), written(b"")], ids=["truncated", "pickle", "empty"])
@pytest.mark.parametrize("run", ["run", "seeds", "old"])
def test_damaged_weights_are_named_when_they_are_read(folder: Path, run: str, damage: Damage) -> None:
    name = "seed_1/fold_2/model.safetensors" if run == "seeds" else "fold_2/model.safetensors"
    damage(folder / run / name)
    opened = Run.open(folder / run)
    reason = "is not a readable checkpoint" if run == "old" else "was altered after the run was finished"
    with pytest.raises(DataError, match=rf"{name} {reason}"):
        trained_models(opened)
    assert any(name in problem for problem in verify_run(folder / run).problems)


def test_weights_of_another_fold_or_model_are_named(folder: Path) -> None:
    shutil.copy(folder / "run/fold_1/model.safetensors", folder / "run/fold_2/model.safetensors")
    assert verify_run(folder / "run").problems == ("fold_2/model.safetensors was altered",)
    write_digests(folder / "run")
    (problem,) = verify_run(folder / "run").problems[:1]
    assert problem == "fold_2: model.safetensors was altered"
    shutil.copy(ARCHIVE / "fold_1/model.safetensors", folder / "run/fold_2/model.safetensors")
    write_digests(folder / "run")
    assert any("it is of model concat, expected text" in problem for problem in verify_run(folder / "run").problems)


def first_bin(metrics: Any) -> None:
    metrics["calibration"]["reliability"][0]["n"] += 1


def speaker_n(metrics: Any) -> None:
    next(iter(metrics["groups"]["speaker"].values()))["n"] += 1


@pytest.mark.parametrize("run", ["run", "seeds"])
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda m: m["pooled"].update(speaker_ua=0.5001), "pooled: speaker_ua is 0.5001, the predictions give "),
        (lambda m: m["mean"].update(auroc=0.5001), ": auroc is 0.5001, the predictions give "),
        (lambda m: m["calibration"].update(ece=0.5001), "metrics.json: calibration.ece is 0.5001, the predictions "),
        (first_bin, "metrics.json: calibration.reliability[0].n is "),
        (speaker_n, "metrics.json: groups.speaker."),
        (lambda m: m["per_class"]["ang"].update(support=0), "metrics.json: per_class.ang.support is 0, the pred"),
        (lambda m: m["worst_groups"].update(session=None), "metrics.json: worst_groups.session is None, the pred"),
    ],
    ids=["speakers", "auroc", "calibration", "reliability", "group", "class", "worst group"],
)
def test_verify_computes_details_again(folder: Path, run: str, damage: Any, expected: str) -> None:
    edited(damage)(folder / run / "metrics.json")
    write_digests(folder / run)
    assert any(expected in problem for problem in verify_run(folder / run).problems)


def test_verify_names_everything_at_once(folder: Path) -> None:
    edited(set_ua)(folder / "run" / "metrics.json")
    truncated(folder / "run" / "fold_1" / "model.safetensors")
    (folder / "run" / "fold_2" / "history.csv").unlink()
    (folder / "run" / "notes.txt").write_text("mine")
    done = commands.run("verify", ["run", "seeds"], folder)
    assert done.returncode == 3
    assert done.stdout.splitlines()[:5] == [
        "run: 5 problems",
        "  - fold_2/history.csv is missing",
        "  - fold_1/model.safetensors was altered",
        "  - metrics.json was altered",
        "  - notes.txt was added",
    ]
    assert "seeds: right" in done.stdout


def test_verify_of_right_runs_says_what_was_checked(folder: Path) -> None:
    done = commands.run("verify", ["run", "old"], folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "19 files compared with xxh3-128 digests" in done.stdout
    assert "no digests to compare, as in runs of version 0.1.0" in done.stdout
    found = json.loads(commands.run("verify", ["run", "old", "--json"], folder).stdout)
    assert [(run["folder"], run["right"], run["problems"]) for run in found] == [("run", True, []), ("old", True, [])]
    assert found[0]["checked"][0] in done.stdout


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("missing", "missing is not a finished run, it does not exist"),
        ("tiny.h5", "tiny.h5 is not a finished run, it is a file"),
        (".", "not a finished run, it has no metrics.json and no predictions.csv"),
        ("open", "open is not a finished run, open.part is an unfinished one: run the same fit again"),
        ("open.part", "open.part is not a finished run, it is an unfinished one: run the same fit again"),
    ],
)
def test_what_is_not_a_run_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str) -> None:
    (folder / "open.part").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=expected):
        Run.open(path)
    done = commands.run("verify", [path, "run"], folder)
    assert done.returncode == 2
    assert done.stdout == ""


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["config.json", "metrics.json"]), value=values)
def test_any_value_in_place_of_any_other_gives_a_run_or_one_clear_error(
    old: Path, data: st.DataObject, name: str, value: Any
) -> None:
    content = json.loads((ARCHIVE / name).read_text(encoding="utf-8"))
    node = content
    for _ in range(data.draw(st.integers(0, 4), "depth")):
        inner = [k for k in (node if isinstance(node, dict) else range(len(node))) if isinstance(node[k], dict | list)]
        if not inner:
            break
        node = node[data.draw(st.sampled_from(inner), "inner")]
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if keys:
        node[data.draw(st.sampled_from(keys), "key")] = value
    (old / name).write_text(json.dumps(content), encoding="utf-8")
    with contextlib.suppress(EmofuseError):  # another error fails the test
        run = Run.open(old)
        assert len(run.predictions) == 32
        trained_models(run)
    verify_run(old)
    shutil.copy(ARCHIVE / name, old / name)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(ARCHIVE, tmp_path_factory.mktemp("fuzz") / "old"))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=20), st.integers(0, 3000))
def test_any_bytes_in_the_predictions_give_a_run_or_one_clear_error(old: Path, patch: bytes, start: int) -> None:
    content = (ARCHIVE / "predictions.csv").read_bytes()
    (old / "predictions.csv").write_bytes(content[:start] + patch + content[start + len(patch) :])
    with contextlib.suppress(DataError):
        assert Run.open(old).predictions is not None
    shutil.copy(ARCHIVE / "predictions.csv", old / "predictions.csv")

"""Search on validation only: it resumes where it stopped, never scores test, and names every mistake in a space."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import UsageError
from emofuse.common.umbrella import load_command
from emofuse.train.search import search as searching
from emofuse.train.search.search import search

SPACE = """
lr = { low = 1e-4, high = 1e-1, log = true }
batch = { low = 8, high = 16, step = 4 }
hidden = [4, 8]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    (tmp_path / "space.toml").write_text(SPACE)
    return tmp_path


def config(folder: Path, name: str, **options: Any) -> Any:
    return samples.config(folder, name, "concat", **({"settings": (), "steps": 10, "folds": "1,2"} | options))


def trial_rows(out: Path) -> list[dict[str, str]]:
    return read_csv(out / "trials.csv")


def test_the_best_is_found_on_validation_and_no_test_is_scored(folder: Path) -> None:
    lines: list[str] = []
    found = search(config(folder, "found"), folder / "space.toml", 4, lines.append)
    rows = trial_rows(found.out)
    assert sorted(int(row["trial"]) for row in rows) == [1, 2, 3, 4]
    assert [float(row["ua"]) for row in rows] == sorted((float(row["ua"]) for row in rows), reverse=True)
    assert set(found.best) == {"lr", "batch", "hidden"}
    assert found.value == pytest.approx(float(rows[0]["ua"]), abs=1e-6)
    names = {p.name for p in found.out.rglob("*") if p.is_file()}
    assert names == {"config.json", "trials.log", "trials.csv", "best.json", "history.csv", "selection.json"}
    history = read_csv(found.out / "trials" / "0000" / "seed_0" / "fold_1" / "history.csv")
    selected = read_json(found.out / "trials" / "0000" / "seed_0" / "fold_1" / "selection.json")
    assert selected["validation"]["ua"] == max(float(row["validation_ua"]) for row in history)
    (command,) = [line for line in lines if line.startswith("test these settings: ")]
    assert f"--set lr={found.best['lr']}" in command
    typed = load_command("fit").make_context("fit", shlex.split(command.removeprefix("test these settings: fit ")))
    assert typed.params["report"] is False


@pytest.mark.slow
def test_an_interrupted_search_resumes_with_the_same_trials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search(config(folder, "whole"), folder / "space.toml", 5, lambda line: None)
    score_trial, calls = searching._score_trial, 0

    def until_third(*arguments: Any) -> tuple[float, float]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return score_trial(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(searching, "_score_trial", until_third)
        with pytest.raises(KeyboardInterrupt):
            search(config(folder, "stopped"), folder / "space.toml", 5, lambda line: None)
    lines: list[str] = []
    stopped = search(config(folder, "stopped"), folder / "space.toml", 5, lines.append)
    assert "resuming trial 3, in which an earlier call was interrupted" in lines
    assert [line[:9] for line in lines if line.startswith("trial ")] == ["trial 3/5", "trial 4/5", "trial 5/5"]
    assert trial_rows(stopped.out) == trial_rows(whole.out)
    again: list[str] = []
    search(config(folder, "stopped"), folder / "space.toml", 5, again.append)
    assert not [line for line in again if line.startswith("trial ")]
    with pytest.raises(UsageError, match="unfinished run with different seed"):
        search(config(folder, "stopped", seed=1), folder / "space.toml", 5, again.append)


def test_every_combination_of_a_grid_is_tried_once(folder: Path) -> None:
    (folder / "grid.toml").write_text('sampler = "grid"\nlr = [0.001, 0.1]\nhidden = [4, 8]\n')
    found = search(config(folder, "grid"), folder / "grid.toml", 50, lambda line: None)
    assert {(row["lr"], row["hidden"]) for row in trial_rows(found.out)} == {
        (lr, hidden) for lr in ("0.001", "0.1") for hidden in ("4", "8")
    }


def test_settings_that_diverge_are_reported_and_skipped(folder: Path) -> None:
    (folder / "wild.toml").write_text('sampler = "grid"\nlr = [0.001, 1e30]\n')
    lines: list[str] = []
    found = search(config(folder, "wild"), folder / "wild.toml", 9, lines.append)
    assert found.best == {"lr": 0.001}
    assert any("the training loss is nan" in line for line in lines)
    assert any(line.startswith("classes   ") for line in lines)
    assert not any(line.startswith("settings  ") for line in lines), "each trial has its own"
    scored, failed = read_csv(found.out / "trials.csv")
    assert (scored["trial"], scored["failed"]) == ("1", "")
    assert (failed["trial"], failed["ua"], failed["lr"]) == ("2", "", "1e+30")
    assert "the training loss is nan" in failed["failed"]


def test_an_error_that_is_not_due_to_the_settings_ends_the_search_without_a_trial(folder: Path) -> None:
    asked = config(folder, "gone", scheduler="nonsense")
    with pytest.raises(UsageError, match="expected an address such as"):
        search(asked, folder / "space.toml", 2, lambda line: None)
    found = search(config(folder, "gone"), folder / "space.toml", 2, lambda line: None)
    assert sorted(row["trial"] for row in trial_rows(found.out)) == ["1", "2"]


def test_the_command_that_tests_the_best_settings_has_the_same_task(folder: Path) -> None:
    lines: list[str] = []
    asked = config(folder, "task", class_weights="balanced", seeds=2, limit=40, threads=1, allow_duplicates=True)
    search(asked, folder / "space.toml", 1, lines.append)
    (command,) = [line for line in lines if line.startswith("test these settings: ")]
    for option in ("--class-weights balanced", "--seeds 2", "--limit 40", "--folds 1,2", "--steps 10", "--threads 1"):
        assert option in command
    assert "--allow-duplicates --" in command, "a flag has no value"


def test_a_folder_that_is_not_a_search_and_options_without_effect(folder: Path) -> None:
    done = samples.quietly(samples.config(folder, "fit", "concat"))
    with pytest.raises(UsageError, match="already exists and is not a search"):
        search(config(folder, done.name), folder / "space.toml", 1, lambda line: None)
    with pytest.raises(UsageError, match="--optimism has no effect"):
        search(config(folder, "idle", optimism=True), folder / "space.toml", 1, lambda line: None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr = [1, 2]", "no setting named 'lrr'. Did you mean 'lr'?"),
        ("lr = 3", "lr: expected choices, [64, 128], or a range"),
        ("lr = { low = 2, high = 1 }", "low below high"),
        ("lr = { low = 0.0, high = 1.0, log = true }", "a logarithmic range is above zero"),
        ("hidden = [-4, 8]", "hidden is -4; expected a number above 0"),
        ('sampler = "grid"\nlr = { low = 1e-5, high = 1 }', "a grid needs choices"),
        ('sampler = "best"\nlr = [1]', "sampler is 'best'; valid: tpe, random, grid"),
        ("lr = { low = 1, high = 2, log = 'no' }", "lr: log is 'no'; valid: true, false"),
        ("batch = { low = 16, high = 20, step = 0.5 }", "expected a whole number"),
        ("hidden = [8, 8, 16]", "hidden: a choice is given twice"),
        ("", "it names no setting"),
        ("lr = [", "is not TOML"),
        ("steps = [10, 20]", "steps is also given on the command line"),
    ],
)
def test_a_wrong_space_is_one_message(folder: Path, text: str, message: str) -> None:
    (folder / "wrong.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        search(config(folder, "wrong"), folder / "wrong.toml", 3, lambda line: None)
    assert message in str(refused.value)
    assert not (folder / "wrong").exists()


def test_a_search_needs_validation(folder: Path) -> None:
    with pytest.raises(UsageError, match="--select last has none"):
        search(config(folder, "last", select="last"), folder / "space.toml", 3, lambda line: None)


def test_a_folder_in_place_of_a_space_file(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--search .*: Is a directory"):
        search(config(folder, "dir"), folder, 3, lambda line: None)


def test_a_search_killed_before_its_first_trial_is_resumed(folder: Path) -> None:
    first = search(config(folder, "early"), folder / "space.toml", 1, lambda line: None)
    (first.out / "trials.log").unlink()
    assert search(config(folder, "early"), folder / "space.toml", 1, lambda line: None).best == first.best


def test_several_mistakes_are_in_one_message(folder: Path) -> None:
    (folder / "wrong.toml").write_text("lrr = [1]\nlr = 3\n")
    with pytest.raises(UsageError) as refused:
        search(config(folder, "wrong"), folder / "wrong.toml", 3, lambda line: None)
    assert "'lrr'" in str(refused.value)
    assert "lr: expected choices" in str(refused.value)

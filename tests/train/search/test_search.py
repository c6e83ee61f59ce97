"""Search on validation alone: it goes on where it stopped, never scores a test, and says what is wrong with a space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import UsageError
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


def bare(out: Path) -> list[dict[str, str]]:
    return read_csv(out / "trials.csv")


def test_the_best_is_found_on_validation_and_no_test_is_scored(folder: Path) -> None:
    told: list[str] = []
    found = search(config(folder, "found"), folder / "space.toml", 4, told.append)
    rows = bare(found.out)
    assert sorted(int(row["trial"]) for row in rows) == [1, 2, 3, 4]
    assert [float(row["ua"]) for row in rows] == sorted((float(row["ua"]) for row in rows), reverse=True)
    assert set(found.best) == {"lr", "batch", "hidden"}
    assert found.value == pytest.approx(float(rows[0]["ua"]), abs=1e-6)
    names = {p.name for p in found.out.rglob("*") if p.is_file()}
    assert names == {"config.json", "trials.log", "trials.csv", "best.json", "history.csv", "selection.json"}
    history = read_csv(found.out / "trials" / "0000" / "seed_0" / "fold_1" / "history.csv")
    selected = read_json(found.out / "trials" / "0000" / "seed_0" / "fold_1" / "selection.json")
    assert selected["validation"]["ua"] == max(float(row["validation_ua"]) for row in history)
    (command,) = [line for line in told if line.startswith("test these settings: ")]
    assert f"--set lr={found.best['lr']}" in command


def test_a_stopped_search_goes_on_to_the_same_trials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search(config(folder, "whole"), folder / "space.toml", 5, lambda line: None)
    judged, calls = searching._judged, 0

    def until_third(*arguments: Any) -> tuple[float, float]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return judged(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(searching, "_judged", until_third)
        with pytest.raises(KeyboardInterrupt):
            search(config(folder, "stopped"), folder / "space.toml", 5, lambda line: None)
    told: list[str] = []
    stopped = search(config(folder, "stopped"), folder / "space.toml", 5, told.append)
    assert "going on with trial 3, in which an earlier call was stopped" in told
    assert [line[:9] for line in told if line.startswith("trial ")] == ["trial 3/5", "trial 4/5", "trial 5/5"]
    assert bare(stopped.out) == bare(whole.out)
    again: list[str] = []
    search(config(folder, "stopped"), folder / "space.toml", 5, again.append)
    assert not [line for line in again if line.startswith("trial ")]
    with pytest.raises(UsageError, match="half-done run with other seed"):
        search(config(folder, "stopped", seed=1), folder / "space.toml", 5, again.append)


def test_a_grid_is_gone_through_once(folder: Path) -> None:
    (folder / "grid.toml").write_text('sampler = "grid"\nlr = [0.001, 0.1]\nhidden = [4, 8]\n')
    found = search(config(folder, "grid"), folder / "grid.toml", 50, lambda line: None)
    assert {(row["lr"], row["hidden"]) for row in bare(found.out)} == {
        (lr, hidden) for lr in ("0.001", "0.1") for hidden in ("4", "8")
    }


def test_settings_that_cannot_be_trained_are_told_and_passed_over(folder: Path) -> None:
    (folder / "wild.toml").write_text('sampler = "grid"\nlr = [0.001, 1e30]\n')
    told: list[str] = []
    found = search(config(folder, "wild"), folder / "wild.toml", 9, told.append)
    assert found.best == {"lr": 0.001}
    assert any("the training loss is nan" in line for line in told)
    assert any(line.startswith("classes   ") for line in told)
    assert not any(line.startswith("settings  ") for line in told), "each trial has its own"
    judged, failed = read_csv(found.out / "trials.csv")
    assert (judged["trial"], judged["failed"]) == ("1", "")
    assert (failed["trial"], failed["ua"], failed["lr"]) == ("2", "", "1e+30")
    assert "the training loss is nan" in failed["failed"]


def test_what_is_no_fault_of_the_settings_ends_the_search_and_is_no_trial(folder: Path) -> None:
    asked = config(folder, "gone", scheduler="nonsense")
    with pytest.raises(UsageError, match="expected an address such as"):
        search(asked, folder / "space.toml", 2, lambda line: None)
    found = search(config(folder, "gone"), folder / "space.toml", 2, lambda line: None)
    assert sorted(row["trial"] for row in bare(found.out)) == ["1", "2"]


def test_the_command_that_tests_the_best_is_of_the_same_task(folder: Path) -> None:
    told: list[str] = []
    asked = config(folder, "said", class_weights="balanced", seeds=2, limit=40, threads=1)
    search(asked, folder / "space.toml", 1, told.append)
    (command,) = [line for line in told if line.startswith("test these settings: ")]
    for words in ("--class-weights balanced", "--seeds 2", "--limit 40", "--folds 1,2", "--steps 10", "--threads 1"):
        assert words in command


def test_a_folder_that_is_no_search_and_options_without_effect(folder: Path) -> None:
    done = samples.quietly(samples.config(folder, "fit", "concat"))
    with pytest.raises(UsageError, match="exists already and is no search"):
        search(config(folder, done.name), folder / "space.toml", 1, lambda line: None)
    with pytest.raises(UsageError, match="--optimism has no effect"):
        search(config(folder, "idle", optimism=True), folder / "space.toml", 1, lambda line: None)


@pytest.mark.parametrize(
    ("text", "said"),
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
        ("steps = [10, 20]", "steps is given on the command line, too"),
    ],
)
def test_a_wrong_space_is_one_message(folder: Path, text: str, said: str) -> None:
    (folder / "wrong.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        search(config(folder, "wrong"), folder / "wrong.toml", 3, lambda line: None)
    assert said in str(refused.value)
    assert not (folder / "wrong").exists()


def test_without_validation_there_is_nothing_to_search_on(folder: Path) -> None:
    with pytest.raises(UsageError, match="--select last does without"):
        search(config(folder, "last", select="last"), folder / "space.toml", 3, lambda line: None)


def test_a_folder_for_a_space(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--search .*: Is a directory"):
        search(config(folder, "dir"), folder, 3, lambda line: None)


def test_a_search_killed_before_its_first_trial_goes_on(folder: Path) -> None:
    first = search(config(folder, "early"), folder / "space.toml", 1, lambda line: None)
    (first.out / "trials.log").unlink()
    assert search(config(folder, "early"), folder / "space.toml", 1, lambda line: None).best == first.best


def test_several_mistakes_are_told_at_once(folder: Path) -> None:
    (folder / "wrong.toml").write_text("lrr = [1]\nlr = 3\n")
    with pytest.raises(UsageError) as refused:
        search(config(folder, "wrong"), folder / "wrong.toml", 3, lambda line: None)
    assert "'lrr'" in str(refused.value)
    assert "lr: expected choices" in str(refused.value)

"""Folders that cannot be ranked are named with the reason, and never left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import BROKEN, Damage, edited, written
from paths import ROOT

from emofuse.common.errors import UsageError
from emofuse.common.page.render import render
from emofuse.train.leaderboard.leaderboard_page import leaderboard_page, read_runs

ARCHIVE = ROOT / "tests" / "archives" / "run-v0.1.0"


@pytest.mark.parametrize("name", [*BROKEN])
@pytest.mark.parametrize("file", ["metrics", "config"])
def test_a_broken_file_is_named(copied: Callable[..., Path], file: str, name: str) -> None:
    folder = copied("audio", "broken", **{file: BROKEN[name]}).parent
    copied("audio", "whole")
    runs, unread = read_runs(folder)
    assert [run.folder.name for run in runs] == ["whole"]
    assert [(one.folder.name, one.state) for one in unread] == [("broken", "damaged")]
    assert unread[0].reason.startswith(f"{file}.json")
    assert str(folder) not in unread[0].reason


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("metrics", edited(lambda m: m.update(pooled=[1])), "pooled is a list"),
        ("metrics", edited(lambda m: m["pooled"].update(ua=7)), "ua not in -1..1"),
        ("metrics", edited(lambda m: m["pooled"].update(ua=float("nan"))), "pooled.ua is nan"),
        ("metrics", edited(lambda m: m.update(shuffled=["rows"])), "shuffled is rows"),
        ("metrics", edited(lambda m: m["interval"].pop("units")), "interval has no units"),
        ("metrics", edited(lambda m: m.update(confusion=[[1]])), "not of 4 classes"),
        ("metrics", edited(lambda m: m.update(evaluation={"run": "x"})), "evaluation has no trained_on"),
        ("metrics", edited(lambda m: m.update(reduced={"found": 1})), "reduced has no found and expected"),
        ("metrics", edited(lambda m: m.pop("folds")), "neither seeds nor folds"),
        ("config", edited(lambda c: c["run"].pop("manifest")), "run has no manifest"),
        ("config", edited(lambda c: c["run"].update(features={"audio": 3})), "features.audio is 3"),
        ("config", edited(lambda c: c["run"]["protocol"].update(metrics=[])), "no metrics"),
        ("config", edited(lambda c: c.update(calls=["x"])), "calls[0] is 'x'"),
    ],
)
def test_wrong_types_and_contradictions(copied: Callable[..., Path], file: str, damage: Damage, reason: str) -> None:
    page = leaderboard_page(copied("audio", "wrong", **{file: damage}).parent)
    assert reason in render(page).replace("&#39;", "'")


def test_what_is_missing_unfinished_or_a_link(copied: Callable[..., Path], tmp_path: Path) -> None:
    folder = copied("audio", "whole").parent
    copied("audio", "no-scores").joinpath("metrics.json").unlink()
    copied("audio", "no-settings").joinpath("config.json").unlink()
    copied("audio", "half.part")
    shutil.rmtree(folder / "half.part" / "fold_1")
    (folder / "again").symlink_to(folder / "whole")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "notes.txt").write_text("a file")
    (folder / "empty").mkdir()
    runs, unread = read_runs(folder)
    found = {one.folder.name: (one.state, one.reason) for one in unread}
    assert [run.folder.name for run in runs] == ["whole"]
    assert found == {
        "no-scores": ("damaged", "metrics.json is missing"),
        "no-settings": ("damaged", "config.json is missing"),
        "half.part": ("unfinished", "3 folds finished; run the same fit again to finish it"),
        "gone": ("link", "a link to a folder that does not exist"),
        "again": ("link", "a link to whole, which is listed"),
        "loop": ("link", "a link to a folder that is not a run; it is not searched"),
    }


def test_what_trackers_keep_of_runs_is_passed_over(copied: Callable[..., Path]) -> None:
    whole = copied("audio", "whole")
    for place in ("mlruns/1/0a1b/artifacts", "wandb/offline-run-20261130-0a1b/files", "damaged/1"):
        kept = whole.parent / place
        kept.mkdir(parents=True)
        for name in ("config.json", "metrics.json", "report.html"):
            shutil.copy(whole / name, kept)
    runs, unread = read_runs(whole.parent)
    assert [run.folder.name for run in runs] == ["whole"]
    assert [one.folder.name for one in unread] == ["1"]


def test_a_link_to_a_run_elsewhere_is_followed(copied: Callable[..., Path], runs: Path) -> None:
    folder = copied("audio", "here").parent
    (folder / "elsewhere").symlink_to(runs / "text")
    assert [run.folder.name for run in read_runs(folder)[0]] == ["here", "elsewhere"]


def test_a_page_of_unfinished_runs_alone(copied: Callable[..., Path]) -> None:
    page = leaderboard_page(copied("audio", "half.part").parent)
    assert page.subtitle == "0 runs, 0 tasks"
    assert "4 folds finished" in render(page)


def test_seeds_of_a_run_are_no_runs_of_their_own(copied: Callable[..., Path]) -> None:
    runs, unread = read_runs(copied("audio-seeds", "a").parent)
    assert [run.folder.name for run in runs] == ["a"]
    assert unread == []


def test_a_seed_that_cannot_be_read_leaves_the_bars_out(copied: Callable[..., Path]) -> None:
    run = copied("audio-seeds", "a")
    written(b"{}")(run / "seed_1" / "metrics.json")
    assert read_runs(run.parent)[0][0].folds == {}


def test_runs_of_the_first_version() -> None:
    runs, unread = read_runs(ARCHIVE)
    assert [(one.folder.name, one.state) for one in unread] == [("half.part", "unfinished")]
    (run,) = runs
    assert (run.tested, run.seeds, [*run.folds]) == (32, 1, [1, 2, 3, 4])
    html = render(leaderboard_page(ARCHIVE))
    assert "runs/tiny4-concat-66db0bd5" in html
    assert "1 fold finished" in html


def test_what_is_no_folder_of_runs_is_refused(runs: Path, tmp_path: Path) -> None:
    for folder, reason in (
        (tmp_path / "nowhere", "is not a folder"),
        (runs / "tiny.h5", "is not a folder"),
        (runs / "concat", "is a run itself"),
        (tmp_path, "has no runs"),
    ):
        with pytest.raises(UsageError, match=reason):
            leaderboard_page(folder)

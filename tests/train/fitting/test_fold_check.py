"""A fold that was altered between two calls is refused on resumption, with its file named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples
from damage import BROKEN, Damage, edited, replaced, truncated
from paths import ROOT
from train_samples import config

from emofuse.common.disk.run_folder import read_json
from emofuse.common.errors import DataError
from emofuse.train.api import fit
from emofuse.train.resolve.config import FitConfig

PARTS = ROOT / "tests" / "archives" / "run-v0.1.0"
ENDS = "delete this folder, and the same command trains the fold again"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose second fold is still to be trained."""
    folder = tmp_path_factory.mktemp("folds")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    fit(config(folder, "run", "text", folds="1,2", steps=4), say=lambda line: None)
    (folder / "run").rename(folder / "run.part")
    for name in ("metrics.json", "predictions.csv", "digests.json"):
        (folder / "run.part" / name).unlink()
    shutil.rmtree(folder / "run.part" / "fold_2")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(PARTS, tmp_path / "old")
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def resumed(folder: Path) -> dict[str, Any]:
    return fit(config(folder, "run", "text", folds="1,2", steps=4), say=lambda line: None).metrics


def old_fit(folder: Path) -> FitConfig:
    settings = ("hidden=4", "batch=4", "lr=0.01")
    return config(folder / "old", "half", steps=20, settings=settings, text="bert", threads=1)


def perfect(result: Any) -> None:
    result["test"]["ua"] = 1.0


def test_a_fold_that_nobody_touched_resumes(folder: Path) -> None:
    before = read_json(folder / "run.part" / "fold_1" / "result.json")
    after = resumed(folder)["folds"][0]
    assert after | {"test": {name: after["test"][name] for name in before["test"]}} == before
    selection = read_json(folder / "run" / "fold_2" / "selection.json")
    assert len(selection["weights"]) == 32


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("result.json", edited(perfect), "result.json: ua is 1, the predictions give 0"),
        ("result.json", edited(lambda r: r.update(step=99)), "result.json: step is 99, selection.json has"),
        ("selection.json", edited(lambda s: s.update(step="x")), "selection.json.step is 'x', expected a whole"),
        ("predictions.csv", replaced("s1_u001", "s1_u999"), "predictions.csv is not of the fold's 16 test utterances"),
        ("predictions.csv", replaced("hap", "ang"), "predictions.csv was altered"),
        ("model.safetensors", truncated, "model.safetensors is not what selection.json names"),
        ("model.safetensors", Path.unlink, "model.safetensors is missing"),
        ("history.csv", truncated, "history.csv was altered"),
    ],
)
def test_an_altered_fold_is_named_and_not_averaged(folder: Path, name: str, damage: Damage, expected: str) -> None:
    damage(folder / "run.part" / "fold_1" / name)
    with pytest.raises(DataError, match=f"fold_1 was altered or damaged(?s:.*){expected}") as error:
        resumed(folder)
    assert ENDS in str(error.value)
    assert not (folder / "run").exists()
    shutil.rmtree(folder / "run.part" / "fold_1")
    assert resumed(folder)["mean"]["ua"] < 1


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", ["result.json", "selection.json", "predictions.csv", "digests.json"])
@pytest.mark.parametrize("old", [False, True], ids=["new", "0.1.0"])
def test_a_broken_file_of_a_fold_is_one_data_error(folder: Path, name: str, broken: str, old: bool) -> None:
    fold = folder / ("old/half.part" if old else "run.part") / "fold_1"
    (fold / name).touch()
    truncatable = broken != "truncated" or (fold / name).stat().st_size
    BROKEN[broken if truncatable else "empty"](fold / name)
    with pytest.raises(DataError, match=name):
        fit(old_fit(folder), say=lambda line: None) if old else resumed(folder)


def test_an_edited_score_in_a_fold_of_version_010_is_found_too(folder: Path) -> None:
    edited(perfect)(folder / "old" / "half.part" / "fold_1" / "result.json")
    with pytest.raises(DataError, match=r"result\.json: ua is 1, the predictions give"):
        fit(old_fit(folder), say=lambda line: None)


def test_a_selected_fold_is_not_scored_with_other_weights(folder: Path) -> None:
    fold = folder / "run.part" / "fold_1"
    for name in ("result.json", "predictions.csv", "digests.json"):
        (fold / name).unlink()
    truncated(fold / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors is not what selection\.json names"):
        resumed(folder)


def test_an_altered_seed_is_not_averaged(folder: Path) -> None:
    two = config(folder, "two", "text", folds="1,2", steps=4, seeds=2)
    fit(two, say=lambda line: None)
    (folder / "two").rename(folder / "two.part")
    edited(lambda m: m["mean"].update(ua=1.0))(folder / "two.part" / "seed_0" / "metrics.json")
    with pytest.raises(DataError, match=r"seed_0 was altered or damaged(?s:.*)metrics\.json was altered"):
        fit(two, say=lambda line: None)

"""The digests of a finished run."""

from __future__ import annotations

from pathlib import Path

import commands
import pytest
import train_samples as samples
from train_samples import config, quietly

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import read_json
from emofuse.train.runs.run_digests import write_digests


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("digests")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return quietly(config(made, "run", "text", seeds=2, folds="1,2", steps=4, report=True))


def test_a_run_carries_the_digests_of_all_its_files(folder: Path) -> None:
    recorded = digests.read_digests(folder)
    assert recorded is not None
    assert list(recorded) == digests.files_in(folder)
    assert {"config.json", "metrics.json", "predictions.csv", "utterances.csv", "history.csv"} <= set(recorded)
    assert digests.altered_files(folder, recorded) == []
    assert digests.altered_files(folder / "seed_1", digests.read_digests(folder / "seed_1") or {"none": ""}) == []


def test_metrics_carry_the_digests_of_all_weights(folder: Path) -> None:
    recorded = digests.read_digests(folder)
    assert recorded is not None
    weights = {f"seed_{s}/fold_{k}/model.safetensors" for s in (0, 1) for k in (1, 2)}
    assert read_json(folder / "metrics.json")["weights"] == {name: recorded[name] for name in weights}


def test_a_file_that_is_added_does_not_hide_what_was_altered(folder: Path) -> None:
    before = digests.read_digests(folder)
    (folder / "MODEL_CARD.md").write_text("card")
    (folder / "report.html").write_text("altered")
    write_digests(folder, ["MODEL_CARD.md"])
    after = digests.read_digests(folder)
    assert before is not None
    assert after == before | {"MODEL_CARD.md": digests.digest_of(folder / "MODEL_CARD.md")}
    assert digests.altered_files(folder, after) == ["report.html was altered"]
    write_digests(folder)
    assert digests.altered_files(folder, digests.read_digests(folder) or {"none": ""}) == []


def test_a_run_records_its_command_and_commit(folder: Path) -> None:
    (call,) = read_json(folder / "config.json")["calls"]
    assert call["command"]["fit"]["model"] == "text"
    assert call["command"]["fit"]["folds"] == "1,2"
    assert call["commit"]
    arguments = ["--store", "tiny.h5", "--protocol", "tiny4.toml", "--model", "text", "--folds", "1", "--steps", "2"]
    done = commands.run("fit", [*arguments, "--jobs", "1", "--out", "typed"], folder.parent)
    assert done.returncode == 0, done.stderr
    (call,) = read_json(folder.parent / "typed" / "config.json")["calls"]
    assert call["command"] == ["fit", *arguments, "--jobs", "1", "--out", "typed"]

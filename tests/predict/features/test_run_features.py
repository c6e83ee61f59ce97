"""What a run's config.json must say of its features."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import predict_samples as samples
import pytest

from emofuse.common.errors import DataError, UsageError
from emofuse.train import Run
from emofuse.train.runs.run_digests import write_digests


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.corpus(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return samples.run(folder, "run", "audio", folds=[1])


def test_a_run_of_version_0_1_0_does_not_say_how_its_store_held_the_values(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    older = altered(run, tmp_path, lambda config: config.pop("dtypes"))
    clip = sorted((folder / "corpus" / "wav").glob("*.wav"))[0]
    assert samples.asked(older, inputs=clip).rows == samples.asked(run, inputs=clip).rows


def test_an_encoder_with_other_settings_is_refused_with_both_values(folder: Path, run: Run, tmp_path: Path) -> None:
    changed = altered(run, tmp_path, lambda c: c["run"]["features"]["audio"]["fingerprint"].update(pool=3))
    with pytest.raises(UsageError, match=r"'logmel' that the run was trained on:\n +pool: the run has 3, here it is {"):
        samples.asked(changed, inputs=folder / "corpus" / "wav")


@pytest.mark.parametrize(
    ("fingerprint", "message"),
    [
        ({"imported_from": "mmsa"}, "was imported from mmsa files"),
        ({}, "has no record of how it was made"),
    ],
)
def test_a_feature_that_no_encoder_made_is_refused(
    folder: Path, run: Run, tmp_path: Path, fingerprint: dict[str, str], message: str
) -> None:
    changed = altered(run, tmp_path, lambda config: config["run"]["features"]["audio"].update(fingerprint=fingerprint))
    with pytest.raises(UsageError, match=message):
        samples.asked(changed, inputs=folder / "corpus" / "wav")


@pytest.mark.parametrize("value", [None, [], {"audio": 3}, {"audio": {"name": "x"}}])
def test_damaged_features_in_config_json_are_damaged_data(folder: Path, run: Run, tmp_path: Path, value: Any) -> None:
    changed = altered(run, tmp_path, lambda config: config["run"].update(features=value))
    with pytest.raises(DataError, match=r"config\.json"):
        samples.asked(changed, inputs=folder / "corpus" / "wav")


def altered(run: Run, folder: Path, change: Any) -> Run:
    """A copy of a run with another config.json."""
    copy = folder / "copy"
    shutil.copytree(run.folder, copy)
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    write_digests(copy)
    return Run(folder=copy, metrics=run.metrics)

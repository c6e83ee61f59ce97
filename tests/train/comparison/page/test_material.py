"""What a comparison page takes from the stores of its runs: those that the user names, and local ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples
from predicted_runs import predicted_run

from emofuse.common.errors import UsageError
from emofuse.store import FeatureStore
from emofuse.train import CompareConfig
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.page.material import page_material
from emofuse.train.runs import run_stores

URL = "s3://bucket/tiny.h5"
LABELS = np.arange(4)


def runs_of(folder: Path) -> list[RunPredictions]:
    """Two runs that were trained on a remote store."""
    runs = [predicted_run(folder / n, LABELS, LABELS[None], ("a", "b", "c", "d"), ["s"] * 4) for n in ("x", "y")]
    for run in runs:
        vars(run.run)["config"] = run.run.config | {"stores": {"tiny": URL}}
    return runs


def test_a_recorded_url_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_stores, "FeatureStore", lambda path: pytest.fail(f"{path} was opened"))
    found = page_material(CompareConfig(runs=("x", "y")), runs_of(tmp_path), None)
    assert found.texts == {}
    assert found.remarks() == [
        f"texts are not shown: the store of tiny is remote and was not opened: name it, --store {URL}"
    ]
    assert page_material(CompareConfig(runs=("x", "y"), no_text=True), runs_of(tmp_path / "b"), None).remarks() == []


def test_the_store_that_the_user_names_has_the_texts_and_the_speakers(tmp_path: Path) -> None:
    path = train_samples.store(tmp_path / "tiny.h5")
    config = CompareConfig(runs=("x", "y"), store=str(path), html="page.html")
    found = page_material(config, runs_of(tmp_path), None)
    with FeatureStore(path) as store:
        first = store.manifest.utterances[0]
    assert found.texts[first.id] == first.text
    assert found.about[first.id]["speaker"] == first.speaker
    assert found.remarks() == []
    assert found.command == f"emofuse compare x y --store {path} --html page.html"
    with pytest.raises(UsageError, match=r"none\.h5"):
        page_material(CompareConfig(runs=("x", "y"), store=tmp_path / "none.h5"), runs_of(tmp_path / "b"), None)


def test_recordings_of_the_folder_that_the_user_names_are_links(tmp_path: Path) -> None:
    path = train_samples.store(tmp_path / "tiny.h5")
    with FeatureStore(path) as store:
        first = store.manifest.utterances[0]
    (tmp_path / "corpus").mkdir()
    options: Any = {"runs": ("x", "y"), "html": "page.html", "audio_root": tmp_path / "corpus"}
    found = page_material(CompareConfig(**options, store=path), runs_of(tmp_path), tmp_path)
    assert first.audio is not None
    assert found.sound(first.id) is None
    assert f"not below {tmp_path / 'corpus'}" in found.remarks()[0]
    (tmp_path / "corpus" / first.audio).parent.mkdir()
    (tmp_path / "corpus" / first.audio).touch()
    assert found.sound(first.id) == f"./corpus/{first.audio}"
    assert found.command.endswith(f"--audio-root {tmp_path / 'corpus'} --html page.html")
    without = page_material(CompareConfig(**options), runs_of(tmp_path / "b"), tmp_path)
    assert "--audio-root has no effect: the store of tiny" in without.remarks()[-1]

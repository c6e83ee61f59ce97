"""The search for nearly the same audio: once per run, and every output names the pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import joint_samples as joint
import numpy as np
import pytest
import train_samples as samples
from numpy.typing import NDArray

from emofuse.store import FeatureData
from emofuse.train.api import fit
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.reporting import run_metrics
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.training import near_duplicate_search
from emofuse.train.runs.training.near_duplicate_search import RESULT, with_near_duplicates

UTTERANCES = samples.utterances()
PAIR = "s1_u000 ~ s3_u002"


def recording(seed: int) -> NDArray[np.float32]:
    """Log energies [60, 30] that change as slowly as speech does."""
    noise = np.random.default_rng(seed).standard_normal((68, 30))
    return (8 + 2 * np.stack([noise[i : i + 4].mean(0) for i in range(60)])).astype(np.float32)


@pytest.fixture
def asked(tmp_path: Path) -> FitConfig:
    arrays = {u.id: recording(0 if u.id == "s3_u002" else i) for i, u in enumerate(UTTERANCES)}
    data = FeatureData(modality="audio", arrays=arrays, encoder="logmel-mcfn", frame_rate=25.0)
    members = tuple(replace(u, audio_digest=u.id) for u in UTTERANCES)
    samples.store(tmp_path / "tiny.h5", members, features={"logmel": data})
    samples.protocol_file(tmp_path)
    return samples.config(tmp_path, "run", "audio", steps=2, folds="1", report=True)


def test_a_run_names_near_duplicates_before_training_and_in_every_output(asked: FitConfig) -> None:
    lines: list[str] = []
    run = fit(asked, say=lines.append)
    note, closing = [line for line in lines if PAIR in line]
    assert note.startswith("note      nearly the same audio in test and training, 1 pair; ")
    assert closing.startswith("nearly the same audio ")
    (pair,) = run.metrics["near_duplicates"]
    assert "1 test utterance with audio that may be a copy of audio in training or validation" in caveats(run.metrics)
    assert (pair["fold"], pair["test"], pair["other"]) == (1, "s1_u000", "s3_u002")
    assert PAIR in (run.folder / "report.html").read_text()
    assert not (run.folder / RESULT).exists()

    again: list[str] = []
    fit(replace(asked, final=True), say=again.append)
    assert any(PAIR in line for line in again), "already done"
    assert PAIR in (run.folder / "report.html").read_text(), "written again"


def test_a_run_that_resumes_does_not_search_again(asked: FitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_metrics, "over_folds", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(asked, say=lambda line: None)
    monkeypatch.setattr(near_duplicate_search, "find_near_duplicates", None)
    assert len(fit(asked, say=lambda line: None).metrics["near_duplicates"]) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"pairs": [{}], "unsearched": ""}'])
def test_a_damaged_result_is_found_again(asked: FitConfig, tmp_path: Path, content: str) -> None:
    (tmp_path / RESULT).write_text(content)
    with resolved(asked) as plan:
        assert len(with_near_duplicates(plan, tmp_path).shared.near_duplicates) == 1


def test_outputs_say_why_nothing_was_looked_for(tmp_path: Path) -> None:
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    lines: list[str] = []
    run = fit(samples.config(tmp_path, "run", "audio", steps=2, folds="1", report=True), say=lines.append)
    assert "too few to compare" in run.metrics["near_duplicates_unsearched"]
    assert len([line for line in lines if "were not looked for" in line]) == 2


def test_stores_of_a_joint_task_are_compared_with_each_other(tmp_path: Path) -> None:
    for number, name in enumerate(("big", "small")):
        arrays = {u.id: recording(100 * number + i) for i, u in enumerate(joint.utterances(name))}
        if name == "small":
            arrays[joint.utterances("small")[-1].id] = recording(0)[3:]
        data = FeatureData(modality="audio", arrays=arrays, encoder="logmel-mcfn", frame_rate=25.0)
        joint.store(tmp_path, name, data={"logmel": data})
    joint.protocol(tmp_path)
    with resolved(joint.config(tmp_path, model="audio", audio="logmel")) as plan:
        found = with_near_duplicates(plan, tmp_path)
    assert [(p.test, p.other) for p in found.shared.near_duplicates] == [
        ("big:s1_u000", f"small:{joint.utterances('small')[-1].id}")
    ]

"""The scores of an evaluation: whose they are, over what, and whether they are those of the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import train_samples as samples
from evaluation_samples import on_other, other_utterances, silent
from train_samples import config, rows

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError
from emofuse.store import FeatureData
from emofuse.train import Run, fit, verify_run
from emofuse.train.comparison.compare import compare
from emofuse.train.runs.run_digests import write_digests

SPELLINGS = """
[names.speaker]
same = {1F = "01F", 1M = "01M"}
"""


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return fit(config(folder, "run", "text", folds="1,2", steps=20), say=silent)


def test_spellings_of_one_name_are_one_speaker_as_in_the_run(tmp_path: Path) -> None:
    of = [replace(u, speaker=f"0{u.speaker}") if u.id == "s1_u000" else u for u in samples.utterances()]
    of = [replace(u, speaker="01M") if u.id == "s1_u004" else u for u in of]
    samples.store(tmp_path / "tiny.h5", tuple(of))
    samples.protocol_file(tmp_path, samples.TOML + SPELLINGS)
    run = fit(config(tmp_path, "run", "text", folds="1,2", steps=4), say=silent)
    again = on_other(run, "again", store=tmp_path / "tiny.h5", map=())
    assert {u["speaker"] for u in again.utterances} == {"01F", "01M", "2F", "2M"}
    for key in ("groups", "interval", "pooled", "mean"):
        assert again.metrics[key] == run.metrics[key]
    assert compare(runs=[run.folder, again.folder], say=silent)


def without_first_feature(path: Path) -> Path:
    """The other corpus; its first utterance has no feature."""
    of = other_utterances()
    arrays = samples.frames(tuple(replace(u, label="sad") for u in of[1:]), 1, dimension=5)
    features = {"bert": FeatureData(modality="text", arrays=arrays, encoder="bert")}
    return samples.store(path, of, "other", features)


def test_the_scores_over_all_count_utterances_without_a_feature(run: Run, tmp_path: Path) -> None:
    found = on_other(run, "part", store=without_first_feature(tmp_path / "part.h5"))
    over_all, wa = found.metrics["over_all"], found.metrics["pooled"]["wa"]
    assert (over_all["n"], over_all["missing"]) == (32, 1)
    assert over_all["wa"] == pytest.approx(wa * 31 / 32)


def test_on_the_same_corpus_they_count_those_of_the_tested_folds(run: Run, tmp_path: Path) -> None:
    of = samples.utterances()
    arrays = samples.frames(of, 1, dimension=5)
    for id in ("s1_u000", "s2_u001", "s2_u002", "s3_u000"):  # the run tests sessions 1 and 2
        del arrays[id]
    features = {"bert": FeatureData(modality="text", arrays=arrays, encoder="bert")}
    store = samples.store(tmp_path / "tiny.h5", of, "tiny", features)
    both = on_other(run, "both", store=store, map=()).metrics["over_all"]
    one = on_other(run, "one", store=store, map=(), fold=2).metrics["over_all"]
    assert (both["n"], both["missing"], one["n"], one["missing"]) == (32, 3, 16, 2)


def test_an_evaluation_without_digests_is_refused(run: Run) -> None:
    found = on_other(run, "digests")
    predictions = rows(found.folder / "predictions.csv")
    assert len(predictions) == 32
    (found.folder / "digests.json").unlink()
    with pytest.raises(DataError, match=r"digests\.json is missing"):
        Run.open(found.folder)
    assert "evaluation" in json.loads((found.folder / "metrics.json").read_text())


def test_a_calibrated_run_stays_calibrated(folder: Path) -> None:
    run = fit(config(folder, "calibrated", "text", folds="1,2", steps=20, calibrate="temperature"), say=silent)
    again = on_other(run, "calibrated-again", store=folder / "tiny.h5", map=())
    assert (again.folder / "predictions.csv").read_bytes() == (run.folder / "predictions.csv").read_bytes()
    assert again.metrics["calibration"] == run.metrics["calibration"]
    other = on_other(run, "calibrated-other")
    one, two = (rows(on_other(run, f"calibrated-{k}", fold=k).folder / "predictions.csv") for k in (1, 2))
    for c in samples.CLASSES:
        name = f"calibrated_p_{c}"
        mean = [(float(a[name]) + float(b[name])) / 2 for a, b in zip(one, two, strict=True)]
        assert [float(r[name]) for r in rows(other.folder / "predictions.csv")] == pytest.approx(mean, abs=2e-6)
    assert other.metrics["calibration"]["calibrated"]["nll"] != other.metrics["calibration"]["nll"]
    assert "temperature" not in other.metrics["calibration"], "it is the mean of two models"


def test_an_evaluation_is_verified_as_a_run_is(run: Run) -> None:
    found = on_other(run, "verified")
    checked = verify_run(found.folder)
    assert checked.problems == ()
    assert checked.checked[-1] == "no weights of its own to load"
    metrics = run_folder.read_json(found.folder / "metrics.json")
    metrics["pooled"]["auroc"] = 0.999
    run_folder.write_json(found.folder / "metrics.json", metrics)
    write_digests(found.folder, ["metrics.json"])
    assert any("auroc" in problem for problem in verify_run(found.folder).problems)

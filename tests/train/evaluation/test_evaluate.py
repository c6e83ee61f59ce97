"""`evaluate`: a finished run on another store, with the files of a run and without training."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import train_samples as samples
from evaluation_samples import on_other, other_store, other_utterances, silent
from train_samples import config, rows

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import scores
from emofuse.store import FeatureData
from emofuse.train import Run, fit
from emofuse.train.runs.trained_models import trained_models


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return fit(config(folder, "run", "text", folds="1,2", steps=60, final=True), say=silent)


def test_the_results_are_the_mean_of_the_models_and_have_the_files_of_a_run(run: Run) -> None:
    found = on_other(run, "mean")
    predictions = rows(found.folder / "predictions.csv")
    assert [r["id"] for r in predictions] == [u.id for u in other_utterances()]
    assert Counter(r["label"] for r in predictions) == dict.fromkeys(samples.CLASSES, 8)
    one, two = (rows(on_other(run, f"fold{k}", fold=k).folder / "predictions.csv") for k in (1, 2))
    for c in samples.CLASSES:
        mean = [(float(a[f"p_{c}"]) + float(b[f"p_{c}"])) / 2 for a, b in zip(one, two, strict=True)]
        assert [float(r[f"p_{c}"]) for r in predictions] == pytest.approx(mean, abs=2e-6)
    assert {r["fold"] for r in two} == {"2"}
    index = {c: i for i, c in enumerate(samples.CLASSES)}
    labels, predicted = (np.array([index[r[k]] for r in predictions]) for k in ("label", "prediction"))
    of_labels = scores(labels, predicted)
    assert {name: found.metrics["pooled"][name] for name in of_labels} == pytest.approx(of_labels)
    assert 0.4 < found.metrics["pooled"]["ua"] <= 0.6, "text carries one of two bits"
    names = {p.name for p in found.folder.iterdir()}
    assert names == samples.RUN_FILES - {"history.csv"} | samples.REPORT_FILES
    assert Run.open(found.folder) == found


def test_the_marks_are_in_every_output(run: Run) -> None:
    lines: list[str] = []
    found = on_other(run, "marks", say=lines.append)
    mark = "valuated on other, trained on tiny, not retrained"
    assert mark in "\n".join(lines)
    page = (found.folder / "report.html").read_text()
    assert mark in page
    assert 'id="learning"' not in page
    about = found.metrics["evaluation"]
    assert (about["evaluated_on"], about["trained_on"], about["models"]) == ("other", "tiny", "all folds")
    assert about["labels"] == {"anger": "ang", "joy": "hap", "neu": "neu", "sad": "sad"}
    assert found.config["evaluated_run"] == str(run.folder)


def test_the_same_call_is_already_done_and_another_one_is_another_folder(run: Run, tmp_path: Path) -> None:
    lines: list[str] = []
    first = on_other(run, "", out=None, runs=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in first.folder.rglob("*")}
    assert on_other(run, "", out=None, runs=tmp_path, say=lines.append) == first
    assert lines[0].startswith("already done: ")
    assert {p: p.stat().st_mtime_ns for p in first.folder.rglob("*")} == before
    assert first.folder.name.startswith("tiny4-text-on-other-")
    assert on_other(run, "", out=None, runs=tmp_path, fold=1).folder != first.folder


def test_the_final_model_can_be_used(run: Run) -> None:
    found = on_other(run, "refit", refit=True)
    assert found.metrics["evaluation"]["models"] == "final"
    assert found.metrics["folds"][0]["step"] == run.metrics["final"]["steps"]


def test_several_seeds_have_rows_and_folders_of_their_own(folder: Path) -> None:
    several = fit(config(folder, "seeds", "text", folds="1,2", seeds=2, steps=4), say=silent)
    found = on_other(several, "seeds-on-other")
    assert found.metrics["seeds"] == [0, 1]
    assert Counter(r["seed"] for r in rows(found.folder / "predictions.csv")) == {"0": 32, "1": 32}
    for seed in (0, 1):
        one = Run.open(found.folder / f"seed_{seed}")
        assert one.metrics["seed"] == seed
        assert one.metrics["evaluation"]["evaluated_on"] == "other"
    assert Run.open(found.folder) == found


def test_on_the_same_corpus_each_fold_tests_what_it_has_held_out(run: Run, folder: Path) -> None:
    found = on_other(run, "again", store=folder / "tiny.h5", map=())
    assert (found.folder / "predictions.csv").read_bytes() == (run.folder / "predictions.csv").read_bytes()
    assert found.metrics["mean"] == run.metrics["mean"]
    assert (found.metrics["evaluation"]["same_corpus"], found.metrics["evaluation"]["untested"]) == (True, 32)
    only = on_other(run, "again2", store=folder / "tiny.h5", map=(), fold=2)
    assert {r["fold"] for r in rows(only.folder / "predictions.csv")} == {"2"}
    with pytest.raises(UsageError, match=r"(?s)--refit would test a model on what.*leave --map and --ignore out"):
        on_other(run, "x", store=folder / "tiny.h5", refit=True, ignore="sad")


def test_classes_that_the_corpus_lacks_and_labels_that_are_none_are_stated(run: Run, tmp_path: Path) -> None:
    of = [u for u in other_utterances() if u.label != "sad"]
    of = [replace(u, label="bored") if i < 3 else u for i, u in enumerate(of)]
    store = other_store(tmp_path / "lacks.h5", tuple(of))
    with pytest.raises(UsageError, match=r"no class of the run: bored 3; classes of the run that no label means: sad"):
        on_other(run, "x", store=store)
    found = on_other(run, "lacks", store=store, ignore="bored")
    assert found.metrics["evaluation"]["left_out"] == {"bored": 3}
    assert found.metrics["evaluation"]["absent_classes"] == ["sad"]
    assert found.metrics["recall"]["sad"] is None
    page = (found.folder / "report.html").read_text()
    assert "Left out, as no class of the run: bored 3." in page
    assert "No utterance of sad: UA is over the other classes" in page


def test_a_feature_of_other_settings_is_refused_with_what_differs(folder: Path, tmp_path: Path) -> None:
    of = samples.utterances()
    data = FeatureData(modality="text", arrays=samples.frames(of, 1), encoder="bert", fingerprint={"layer": 12, "a": 1})
    samples.store(tmp_path / "tiny.h5", of, features={"bert": data})
    samples.protocol_file(tmp_path)
    run = fit(config(tmp_path, "run", "text", steps=2, folds="1"), say=silent)
    differing = other_store(tmp_path / "other.h5", fingerprint={"layer": 11, "a": 1})
    with pytest.raises(UsageError, match=r"its 'bert' differs: dimension 5, the run 6; layer 11, the run 12\n"):
        on_other(run, "x", store=differing)
    with pytest.raises(UsageError, match=r"extract --dataset other --encoder bert"):
        on_other(run, "x", store=differing)
    with pytest.raises(UsageError, match="it seems to be the same corpus under another name"):
        on_other(run, "x", store=samples.store(tmp_path / "copy.h5", of, "copy", {"other-name": data}), map=())


def test_audio_of_the_training_stores_is_refused_with_the_ids(tmp_path: Path) -> None:
    own = tuple(replace(u, audio_digest=f"{i:032x}") for i, u in enumerate(samples.utterances()))
    samples.store(tmp_path / "tiny.h5", own)
    samples.protocol_file(tmp_path)
    run = fit(config(tmp_path, "run", "text", steps=2, folds="1"), say=silent)
    of = tuple(replace(u, audio_digest=f"{i + 62:032x}") for i, u in enumerate(other_utterances()))
    store = other_store(tmp_path / "other.h5", of)
    with pytest.raises(UsageError, match=r"the audio of 2 tested utterances is in .*: other_s1_u000, other_s1_u001;"):
        on_other(run, "x", store=store)
    allowed = on_other(run, "allowed", store=store, allow_duplicates=True)
    assert allowed.metrics["evaluation"]["shared_audio"] == ["other_s1_u000", "other_s1_u001"]
    (tmp_path / "tiny.h5").unlink()
    absent = on_other(run, "absent", store=store)
    assert absent.metrics["evaluation"]["unchecked_stores"] == [str(tmp_path / "tiny.h5")]
    assert "Not compared with the training audio" in (absent.folder / "report.html").read_text()


def test_an_encoder_that_was_trained_on_the_corpus_is_refused(run: Run, tmp_path: Path) -> None:
    fitted = other_store(tmp_path / "fitted.h5", provenance={"fitted_on": [{"corpus": "other", "labels": True}]})
    with pytest.raises(UsageError, match="an encoder was trained on what would be tested"):
        on_other(run, "x", store=fitted)


def test_utterances_without_the_feature_are_excluded_and_listed(run: Run, folder: Path, tmp_path: Path) -> None:
    of = other_utterances()
    arrays = samples.frames(tuple(replace(u, label="sad") for u in of[1:]), 1, dimension=5)
    samples.store(
        tmp_path / "part.h5", of, "other", {"bert": FeatureData(modality="text", arrays=arrays, encoder="bert")}
    )
    arguments = ("--run", str(run.folder), "--store", "part.h5", "--out", "part", "--device", "cpu")
    done = commands.run("evaluate", [*arguments, "--map", "ang=anger", "--map", "hap=joy"], tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"excluded  1 utterance without an up-to-date feature: {of[0].id}" in done.stdout
    assert json.loads((tmp_path / "part" / "config.json").read_text())["excluded"] == {
        of[0].id: "no up-to-date text feature"
    }


def test_an_evaluation_has_no_models(run: Run) -> None:
    found = on_other(run, "mean")
    with pytest.raises(UsageError, match="is an evaluation, which has no models of its own: pass its run"):
        trained_models(found)
    with pytest.raises(UsageError, match="is an evaluation"):
        on_other(found, "x")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fold": 3}, r"no fold named '3'"),
        ({"fold": 1, "refit": True}, "fold and refit exclude each other: pass one"),
        (
            {"map": {"ang": "angr", "happy": "joy"}},
            r"(?s)no label in the store named 'angr'.*no class of the run named",
        ),
        ({"map": ["ang"]}, "--map ang: expected OURS=THEIRS"),
        ({"map": ()}, r"no class of the run: anger 8, joy 8; classes of the run that no label means: ang, hap"),
        ({"map": ["ang=anger", "hap=anger"]}, "label 'anger' is given two meanings"),
        ({"store": 5}, r"store is 5, expected a path"),
        ({"runz": 5}, r"no option named 'runz'\. Did you mean"),
    ],
)
def test_wrong_options_are_named(run: Run, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        on_other(run, "wrong", **options)
    assert not (run.folder.parent / "wrong").exists()
    assert not (run.folder.parent / "wrong.part").exists()

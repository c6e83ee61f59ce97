"""Runs that `compare` refuses, as they are not of one task, and what a run could not test."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import train_samples as samples
from commands import run
from train_samples import config, quietly, rows

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import LABEL_METRICS
from emofuse.store import FeatureData
from emofuse.train import Run, compare

QUIET = {"say": lambda line: None}


def of(folder: Path, *names: str) -> list[Path]:
    return [folder / name for name in names]


@pytest.mark.parametrize("names", [[], ["concat"]])
def test_fewer_than_two_runs_are_refused(folder: Path, names: list[str]) -> None:
    done = run("compare", [str(path) for path in of(folder, *names)])
    assert done.returncode == 2
    assert f"error: {'one run' if names else 'no run'} to compare, expected two or more" in done.stderr


def test_the_same_run_twice_is_refused_also_as_a_copy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"concat: the same run twice$"):
        compare(runs=[folder / "concat", folder / "text" / ".." / "concat"], **QUIET)
    shutil.copytree(folder / "concat", tmp_path / "copy")
    with pytest.raises(UsageError, match="the same run twice, equal settings in two folders"):
        compare(runs=[folder / "concat", tmp_path / "copy"], **QUIET)


def test_unfinished_and_other_folders_are_all_named(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        compare(runs=[folder / "nothing", folder / "concat", folder], **QUIET)
    assert f"{folder / 'nothing'} is not a finished run" in str(caught.value)
    assert f"{folder} is not a finished run" in str(caught.value)


def test_other_test_utterances_are_counted_and_named(folder: Path, tmp_path: Path) -> None:
    some = quietly(config(folder, "one", folds="1", steps=4, out=tmp_path / "one"))
    done = run("compare", [str(folder / "concat"), str(some)])
    assert done.returncode == 2
    assert "does not test 48 utterances (s2_u000, s2_u001, s2_u002, ...); it tests fold 1 alone" in done.stderr
    back = run("compare", [str(some), str(folder / "concat")])
    assert "tests 48 utterances (s2_u000, s2_u001, s2_u002, ...) that " in back.stderr


def test_another_protocol_is_named_by_its_keys(folder: Path, tmp_path: Path) -> None:
    text = samples.TOML.replace('by = "session"', 'by = "speaker"').replace(
        '["session", "speaker", "dialogue"]', '["speaker"]'
    )
    other = quietly(config(folder, "x", protocol=samples.protocol_file(tmp_path, text), steps=2, out=tmp_path / "x"))
    with pytest.raises(UsageError) as caught:
        compare(runs=[folder / "concat", other], **QUIET)
    message = str(caught.value)
    assert "protocol fold_by is speaker, not session" in message
    assert "protocol disjoint is speaker, not session, speaker, dialogue" in message
    assert "56 utterances in other folds (s1_u004 in fold 2, not 1; " in message


def test_other_labels_are_named(folder: Path, tmp_path: Path) -> None:
    relabelled = tuple(replace(u, label="hap") if u.id == "s1_u000" else u for u in samples.utterances())
    store = samples.store(tmp_path / "tiny.h5", relabelled)
    other = quietly(config(folder, "labels", store=store, steps=2, out=tmp_path / "labels"))
    with pytest.raises(UsageError, match=r"1 utterance with other labels \(s1_u000 hap, not ang\)"):
        compare(runs=[folder / "audio", other], **QUIET)


def test_what_a_run_lacks_counts_as_wrong_only_on_demand(folder: Path, tmp_path: Path) -> None:
    arrays = samples.frames(samples.utterances(), 1, dimension=5)
    for missing in ("s1_u000", "s3_u005"):
        del arrays[missing]
    features = {"bert": FeatureData(modality="text", arrays=arrays, encoder="bert")}
    samples.store(tmp_path / "gap.h5", features=features)
    gap = quietly(config(folder, "gap", "text", store=tmp_path / "gap.h5", steps=3, out=tmp_path / "gap"))
    concat = folder / "concat"
    done = run("compare", [str(concat), str(gap)])
    assert done.returncode == 2
    assert "does not test 2 utterances (s1_u000, s3_u005); without an up-to-date feature there: 2" in done.stderr
    found = compare(runs=[concat, gap], missing_as_wrong=True, **QUIET)
    assert found.utterances == 64
    assert found.runs[1].caveats[0] == "2 utterances without a feature, counted as wrong (--missing-as-wrong)"
    right = sum(row["label"] == row["prediction"] for row in rows(gap / "predictions.csv"))
    assert found.runs[1].scores["wa"] == pytest.approx(right / 64)
    assert found.runs[0].scores["wa"] == compare(runs=[concat, folder / "text"], **QUIET).runs[0].scores["wa"]
    assert found.pairs[0].differences["wa"].value == pytest.approx(found.runs[0].scores["wa"] - right / 64)
    over_all = Run.open(gap).metrics["over_all"]
    assert found.runs[1].scores == pytest.approx({name: over_all[name] for name in LABEL_METRICS})
    by_f1 = compare(runs=[concat, gap], missing_as_wrong=True, metrics="macro_f1", **QUIET)
    assert by_f1.pairs[0].differences["macro_f1"].value == pytest.approx(
        by_f1.runs[0].scores["macro_f1"] - over_all["macro_f1"]
    )
    one = quietly(config(folder, "one", folds="1", steps=2, out=tmp_path / "one"))
    with pytest.raises(UsageError, match="does not test 48 utterances"):
        compare(runs=[concat, one], missing_as_wrong=True, **QUIET)

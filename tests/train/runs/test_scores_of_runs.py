"""What runs say beyond their scores: metrics of choice, classes, groups, and utterances that lack a feature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples
from train_samples import config

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import METRICS
from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureData
from emofuse.train.api import fit
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.verification.verify import verify_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scores")
    of = tuple(replace(u, extra={"sex": "FM"[str(u.speaker).endswith("M")]}) for u in samples.utterances())
    samples.store(made / "tiny.h5", of)
    samples.protocol_file(made)
    return made


def fitted(asked: FitConfig) -> tuple[Run, str]:
    lines: list[str] = []
    run = fit(asked, say=lines.append)
    return run, "\n".join(lines)


@pytest.fixture(scope="module")
def shown(folder: Path) -> tuple[Run, str]:
    return fitted(config(folder, "run", "text", steps=4, metrics="mcc, auroc,speaker_ua,ua", folds="1,2", report=True))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_in_every_run_and_can_be_shown(folder: Path, shown: tuple[Run, str], name: str) -> None:
    run, text = fitted(config(folder, "run", "text", steps=4, metrics=name, folds="1,2"))
    assert run == shown[0], "which metrics are shown changes no run"
    for values in (run.metrics["mean"], run.metrics["std"], run.metrics["pooled"], run.metrics["folds"][0]["test"]):
        assert isinstance(values[name], float)
    assert f"{METRICS[name]}." in text
    assert f"{run.metrics['pooled'][name]:.3f}" in text


def test_the_chosen_metrics_are_columns_and_the_first_of_the_protocol_selects(shown: tuple[Run, str]) -> None:
    run, text = shown
    assert "n  step  MCC " in text
    assert "selection best UA on" in text
    (row,) = [line for line in text.splitlines() if line.startswith("95 % interval")]
    assert row.split("dialogues")[1].split()[1:3] == ["-", "-"], "only scores of labels have an interval"
    page = (run.folder / "report.html").read_text()
    assert ">AUROC</th>" in page


def test_metrics_are_not_part_of_the_identity(folder: Path, tmp_path: Path) -> None:
    run, _ = fitted(config(folder, "x", "text", out=None, runs=tmp_path, steps=2, folds="1"))
    again, _ = fitted(config(folder, "x", "text", out=None, runs=tmp_path, steps=2, folds="1", metrics=["mcc"]))
    assert again.folder == run.folder


def test_unknown_metrics_are_all_named_with_the_valid_ones(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no metric named 'au'.*Valid: auroc, ccc") as raised:
        fit(config(folder, "wrong", "text", metrics="au,wb,ua"), say=lambda line: None)
    assert "no metric named 'wb'." in str(raised.value)


def test_a_metric_that_needs_more_than_labels_selects_nothing(folder: Path) -> None:
    with pytest.raises(UsageError, match="the first metric selects, and auroc cannot; valid: wa, ua"):
        samples.protocol(metrics=["auroc", "ua"])
    assert samples.protocol(metrics=["mcc", "auroc"]).metrics == ("mcc", "auroc")


def test_groups_and_the_worst_of_each(shown: tuple[Run, str]) -> None:
    run, text = shown
    groups = run.metrics["groups"]
    assert {kind: len(of) for kind, of in groups.items()} == {"speaker": 4, "session": 2, "gender": 2}
    assert all(group["n"] == 8 for group in groups["speaker"].values())
    rows = {r["id"]: r for r in samples.rows(run.folder / "utterances.csv")}
    right: dict[str, list[bool]] = {}
    for row in samples.rows(run.folder / "predictions.csv"):
        right.setdefault(rows[row["id"]]["gender"], []).append(row["label"] == row["prediction"])
    assert set(right) == {"female", "male"}
    assert {k: g["wa"] for k, g in groups["gender"].items()} == pytest.approx({k: np.mean(v) for k, v in right.items()})
    worst = min(groups["gender"], key=lambda name: groups["gender"][name]["ua"])
    assert run.metrics["worst_groups"]["gender"]["name"] == worst
    assert "speaker" not in run.metrics["worst_groups"], "eight utterances are too few"
    line = f"gender {worst} {groups['gender'][worst]['ua']:.3f} of 16 utterances"
    assert any(found.startswith("lowest UA by group: ") and line in found for found in text.splitlines())
    page = (run.folder / "report.html").read_text()
    assert f"is {worst} with {groups['gender'][worst]['ua']:.3f} (n " in page


def test_speaker_means_count_each_speaker_the_same(shown: tuple[Run, str]) -> None:
    metrics = shown[0].metrics
    expected = np.mean([group["ua"] for group in metrics["groups"]["speaker"].values()])
    assert metrics["pooled"]["speaker_ua"] == pytest.approx(expected)


def test_several_seeds_have_the_mean_of_everything(folder: Path) -> None:
    run, text = fitted(config(folder, "seeds", "text", steps=4, seeds=2, folds="1,2", metrics="ua,auroc"))
    each = [Run.open(run.folder / f"seed_{seed}").metrics for seed in (0, 1)]
    for path in (
        ("per_class", "ang", "recall"),
        ("per_class", "sad", "support"),
        ("groups", "speaker", "1F", "ua"),
        ("calibration", "ece"),
        ("calibration", "brier"),
        ("over_all", "ua"),
        ("mean", "auroc"),
        ("pooled", "mcc"),
    ):
        assert found(run.metrics, path) == pytest.approx(np.mean([found(m, path) for m in each])), path
    assert sum(b["n"] for b in run.metrics["calibration"]["reliability"]) == 2 * 32
    assert "lowest UA by group: " in text
    assert "calibration: ECE " in text


def found(metrics: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        metrics = metrics[key]
    return metrics


def without_text(of: tuple[Utterance, ...], ids: set[str]) -> dict[str, FeatureData]:
    frames = samples.frames(of, 1, dimension=5)
    return {"bert": FeatureData(modality="text", arrays={i: a for i, a in frames.items() if i not in ids})}


def test_utterances_that_lack_a_feature_count_as_wrong_in_a_second_line(folder: Path, tmp_path: Path) -> None:
    of = samples.utterances()
    lost = {"s1_u000", "s1_u001", "s4_u000"}  # two of session 1, one of a session that is not tested
    store = samples.store(tmp_path / "gaps.h5", features=without_text(of, lost))
    run, text = fitted(config(folder, "gaps", "text", store=store, folds="1,2", metrics="wa,ua", steps=4, report=True))
    over, pooled = run.metrics["over_all"], run.metrics["pooled"]
    assert (over["n"], over["missing"]) == (32, 2)
    assert over["wa"] == pytest.approx(pooled["wa"] * 30 / 32)
    assert over["ua"] < pooled["ua"]
    line = "over all 32: 2 without a feature count as wrong"
    (row,) = [found for found in text.splitlines() if found.startswith(line)]
    assert row.split()[-3:] == ["32", f"{over['wa']:.3f}", f"{over['ua']:.3f}"]
    assert line in (run.folder / "report.html").read_text()


def test_without_gaps_there_is_no_second_line_and_short_runs_have_none(folder: Path, shown: tuple[Run, str]) -> None:
    run, text = shown
    assert run.metrics["over_all"]["missing"] == 0
    assert run.metrics["over_all"]["ua"] == run.metrics["pooled"]["ua"]
    assert "over all" not in text.replace("over all utterances", "")
    short, _ = fitted(config(folder, "short", "text", limit=32, steps=2, folds="1"))
    assert "over_all" not in short.metrics


def test_an_interval_over_few_units_is_called_untrusted_everywhere(shown: tuple[Run, str]) -> None:
    run, text = shown
    warning = "the interval cannot be trusted: it is over 2 sessions, fewer than 5"
    assert warning in text
    page = (run.folder / "report.html").read_text()
    assert f"{warning[0].upper()}{warning[1:]}." in page
    assert f"{run.metrics['parameters']:,}" in page
    method = "percentile bootstrap, 2000 resamples of 2 sessions, then dialogues of each"
    assert run.metrics["interval"]["method"] == method


def test_an_undefined_score_is_a_dash_and_the_run_still_verifies(folder: Path, tmp_path: Path) -> None:
    of = tuple(u for u in samples.utterances() if (u.session, u.label) != ("1", "sad"))
    store = samples.store(tmp_path / "no-sad.h5", of)
    run, text = fitted(config(folder, "no-sad", "text", store=store, folds="1", steps=4, metrics="auroc,ua"))
    assert run.metrics["pooled"]["auroc"] is run.metrics["mean"]["auroc"] is None
    assert run.metrics["per_class"]["sad"]["recall"] is None
    (row,) = [line for line in text.splitlines() if line.startswith("fold 1 ")]
    assert row.split()[3:6:2] == ["12", "-"]
    assert verify_run(run.folder).problems == ()

"""`compare` on real small runs: figures, names, formats, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import train_samples as samples
from commands import run
from train_samples import config, quietly, rows

from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import scores
from emofuse.store import FeatureData
from emofuse.train import CompareConfig, Comparison, Run, compare, evaluate
from emofuse.train.runs.run_digests import write_digests

QUIET = {"say": lambda line: None}


def of(folder: Path, *names: str) -> list[Path]:
    return [folder / name for name in names]


def test_scores_and_differences_are_those_of_the_predictions(folder: Path) -> None:
    found = compare(runs=of(folder, "concat", "audio"), **QUIET)
    assert (found.utterances, found.units.kind, found.units.count, found.exact) == (64, "speaker", 8, True)
    assert found.metrics == ("ua", "wa", "wf1")
    pooled = {}
    for name in ("concat", "audio"):
        read = rows(folder / name / "predictions.csv")
        seeds = sorted({row.get("seed", "0") for row in read})
        of_seeds = [[row for row in read if row.get("seed", "0") == seed] for seed in seeds]
        pooled[name] = [scores(*(_numbers(seed, c) for c in ("label", "prediction"))) for seed in of_seeds]
    assert [len(run.seeds) for run in found.runs] == [1, 2] == [len(p) for p in pooled.values()]
    for metric in found.metrics:
        means = [np.mean([seed[metric] for seed in pooled[name]]) for name in ("concat", "audio")]
        assert [run.scores[metric] for run in found.runs] == pytest.approx(means)
        difference = found.pairs[0].differences[metric]
        assert difference.value == pytest.approx(means[0] - means[1])
        assert difference.interval[0] <= difference.value <= difference.interval[1]
        assert difference.p == difference.corrected_p


def test_the_metric_that_decides_is_the_protocols_and_not_the_one_that_was_printed(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "concat", tmp_path / "other")
    metrics = run_folder.read_json(tmp_path / "other" / "metrics.json")
    run_folder.write_json(tmp_path / "other" / "metrics.json", metrics | {"metrics": ["wa", "mcc"]})
    write_digests(tmp_path / "other", ["metrics.json"])
    for runs in ([tmp_path / "other", folder / "audio"], [folder / "audio", tmp_path / "other"]):
        assert compare(runs=runs, **QUIET).metrics == ("ua", "wa", "wf1")


def _numbers(read: list[dict[str, str]], column: str) -> np.ndarray:
    return np.array([samples.CLASSES.index(row[column]) for row in read])


def test_a_clear_difference_is_one_sentence(folder: Path) -> None:
    lines: list[str] = []
    found = compare(runs=of(folder, "concat", "audio"), say=lines.append)
    assert found.pairs[0].differences["ua"].corrected_p < 0.05
    assert any(line.startswith("concat beats audio by ") for line in "\n".join(lines).splitlines())


def test_both_seeds_and_all_folds_are_in_the_corrected_t(folder: Path) -> None:
    found = compare(runs=of(folder, "audio", "text"), **QUIET)
    test = found.pairs[0].differences["ua"].t
    assert test is not None
    assert test.degrees == 2 * 4 - 1
    assert found.ratio == pytest.approx(16 / 32)
    folds = [
        json.loads((folder / m / f"seed_{s}" / "metrics.json").read_text())["folds"]
        for m in ("audio", "text")
        for s in (0, 1)
    ]
    means = [np.mean([fold["test"]["ua"] for fold in seed]) for seed in folds]
    assert test.difference == pytest.approx((means[0] + means[1] - means[2] - means[3]) / 2)


def test_one_seed_against_two_is_tested_over_folds(folder: Path) -> None:
    found = compare(runs=of(folder, "concat", "text"), **QUIET)
    test = found.pairs[0].differences["wa"].t
    assert test is not None
    assert test.degrees == 4 - 1


def test_every_pair_or_the_pairs_with_a_baseline(folder: Path) -> None:
    three = of(folder, "concat", "audio", "text")
    found = compare(runs=three, **QUIET)
    assert [(p.first, p.second) for p in found.pairs] == [("concat", "audio"), ("concat", "text"), ("audio", "text")]
    p = [pair.differences["ua"].p for pair in found.pairs]
    assert found.pairs[int(np.argmin(p))].differences["ua"].corrected_p == pytest.approx(min(1, 3 * min(p)))
    with_baseline = compare(runs=three, baseline=folder / "audio", **QUIET)
    assert [(p.first, p.second) for p in with_baseline.pairs] == [("concat", "audio"), ("text", "audio")]
    assert (
        compare(runs=three[:1], baseline=str(folder / "audio"), **QUIET).pairs == compare(runs=three[:2], **QUIET).pairs
    )


def test_runs_of_one_model_are_named_by_what_tells_them_apart(folder: Path) -> None:
    def names(*chosen: str) -> list[str]:
        return [run.name for run in compare(runs=of(folder, *chosen), **QUIET).runs]

    assert names("linear-logmel", "linear-rough") == ["linear (logmel)", "linear (rough)"]
    assert names("linear-logmel", "linear-slow", "audio") == ["linear (lr=0.03)", "linear (lr=0.001)", "audio"]
    assert names("linear-logmel", "linear-rough", "linear-slow") == [
        "linear (logmel, lr=0.03)",
        "linear (rough, lr=0.03)",
        "linear (logmel, lr=0.001)",
    ]


def test_fewer_units_allow_no_small_p(folder: Path) -> None:
    found = compare(runs=of(folder, "concat", "audio"), unit="session", **QUIET)
    assert (found.units.kind, found.units.count, found.smallest_p) == ("session", 4, 0.125)
    text = run("compare", [*map(str, of(folder, "concat", "audio")), "--unit", "session"]).stdout
    assert "No difference can be shown between concat and audio" in text
    assert "with 4 sessions no p below 0.125 is possible" in text
    assert "The intervals cannot be trusted: 4 sessions." in text


def test_speakers_that_share_sessions_are_noted(folder: Path) -> None:
    found = compare(runs=of(folder, "concat", "audio"), **QUIET)
    assert len(found.notes) == 1
    assert found.notes[0].startswith(
        "The 8 speakers share 4 sessions and are taken as independent. Where models differ"
    )
    assert found.notes[0].endswith("compare --unit session is stricter.")
    assert compare(runs=of(folder, "concat", "audio"), unit="dialogue", **QUIET).units.count == 16
    assert compare(runs=of(folder, "concat", "audio"), unit="utterance", **QUIET).units.count == 64


@pytest.mark.parametrize("format", ["table", "csv", "json", "md", "latex"])
def test_every_format_has_the_figures_and_the_sentence(folder: Path, format: str, tmp_path: Path) -> None:
    chosen = [str(path) for path in of(folder, "concat", "linear-logmel", "linear-rough")]
    done = run("compare", [*chosen, "--format", format, "--out", str(tmp_path / "new" / "file")])
    assert (done.returncode, done.stdout.strip()) == (0, f"comparison: {tmp_path / 'new' / 'file'}")
    text = (tmp_path / "new" / "file").read_text()
    assert run("compare", [*chosen, "--format", format]).stdout.splitlines() == text.splitlines()
    found = compare(runs=chosen, **QUIET)
    difference = found.pairs[0].differences["ua"]
    if format == "json":
        content = json.loads(text)
        assert content["pairs"][0]["differences"]["ua"]["holm_p"] == difference.corrected_p
        assert content["pairs"][0]["differences"]["ua"]["cohens_d"] == difference.effect
        assert len(content["pairs"]) == 3
    elif format == "csv":
        read = list(csv.DictReader(io.StringIO(text)))
        assert len(read) == 9
        assert float(read[0]["difference"]) == difference.value
        assert "concat beats linear (logmel) by" in read[0]["sentence"]
        assert {row["metric"] for row in read} == {"ua", "wa", "wf1"}
    else:
        assert f"{100 * difference.value:+.1f}" in text
        assert "Holm-corrected p" in " ".join(text.split())
    if format == "latex":
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert r"\begin{tabular}{llrrrrrr}" in text


def test_caveats_of_every_run_are_shown(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        quietly(config(folder, name, "text", limit=32, steps=2 if name == "a" else 3, out=tmp_path / name))
    found = compare(runs=of(tmp_path, "a", "b"), **QUIET)
    assert "short run: 32 utterances (--limit)" in found.runs[0].caveats
    for format in ("table", "csv", "json", "md", "latex"):
        text = run("compare", [str(tmp_path / "a"), str(tmp_path / "b"), "--format", format]).stdout
        assert f"short run: 32 utterances ({'-{}-' if format == 'latex' else '--'}limit)" in text


def test_metrics_are_chosen_and_unknown_ones_named(folder: Path) -> None:
    assert compare(runs=of(folder, "concat", "text"), metrics="macro_f1,ua", **QUIET).metrics == ("macro_f1", "ua")
    runs = [*map(str, of(folder, "concat", "text"))]
    assert json.loads(run("compare", [*runs, "--metrics", "wa,ua", "--format", "json"]).stdout)["metrics"] == [
        "wa",
        "ua",
    ]
    assert json.loads(run("compare", [*runs, "--metrics", "wa", "--json"]).stdout)["metrics"] == ["wa"]
    assert "--json and --format csv: give one" in run("compare", [*runs, "--json", "--format", "csv"]).stderr
    done = run("compare", [*runs, "--metrics", "wa,uar"])
    assert done.returncode == 2
    assert "no metric named 'uar'. Did you mean 'ua'? Valid: " in done.stderr
    assert "Several: --metrics ua,wa." in done.stderr


def test_runs_of_version_0_1_0_are_compared_by_folds(tmp_path: Path) -> None:
    archive = Path(__file__).parents[2] / "archives" / "run-v0.1.0" / "runs" / "tiny4-concat-66db0bd5"
    shutil.copytree(archive, tmp_path / "old")
    other = tmp_path / "other"
    shutil.copytree(archive, other)
    record = run_folder.read_json(other / "config.json")
    record["run"]["settings"]["lr"] = 0.5
    run_folder.write_json(other / "config.json", record)
    found = compare(runs=[tmp_path / "old", other], **QUIET)
    assert (found.units.kind, found.units.count) == ("fold", 4)
    assert "no utterances.csv" in found.notes[0]
    with pytest.raises(UsageError, match=r"--unit speaker: these runs have no utterances\.csv"):
        compare(runs=[tmp_path / "old", other], unit="speaker", **QUIET)


def test_python_takes_runs_texts_and_one_record(folder: Path) -> None:
    found = compare(runs=[Run.open(folder / "concat"), str(folder / "text")], **QUIET)
    assert isinstance(found, Comparison)
    assert compare(CompareConfig(runs=of(folder, "concat", "text")), **QUIET).pairs == found.pairs
    with pytest.raises(UsageError) as caught:
        compare(runs=3, formt="csv", unit="room", **QUIET)
    message = str(caught.value)
    assert "runs is 3, expected the folders of finished runs, or Run objects" in message
    assert "no option named 'formt'. Did you mean 'format'?" in message
    assert "unit is 'room', expected 'auto', 'speaker', 'session', 'dialogue' or 'utterance'" in message


def test_evaluations_on_another_corpus_are_compared_by_its_speakers(folder: Path, tmp_path: Path) -> None:
    other = tuple(replace(u, id=f"other_{u.id}") for u in samples.utterances(per_session=8))
    features = {
        "bert": FeatureData(modality="text", arrays=samples.frames(other, 1, dimension=5, seed=3), encoder="bert"),
        "logmel": FeatureData(
            modality="audio", arrays=samples.frames(other, 0, seed=3), encoder="logmel-smcn", frame_rate=20.0
        ),
    }
    store = samples.store(tmp_path / "other.h5", other, corpus="other", features=features)
    runs = [
        evaluate(run=folder / name, store=store, out=tmp_path / name, say=lambda line: None)
        for name in ("concat", "audio")
    ]
    found = compare(runs=runs, **QUIET)
    assert (found.utterances, found.units.kind, found.units.count) == (32, "speaker", 8)
    assert found.pairs[0].differences["ua"].t is None
    assert found.ratio is None
    with pytest.raises(UsageError, match="protocol corpus is other, not tiny"):
        compare(runs=[folder / "concat", tmp_path / "audio"], **QUIET)

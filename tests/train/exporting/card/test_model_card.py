"""MODEL_CARD.md: what it says of a run, what it must say first, and names that cannot change the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joint_samples as joint
import pytest
import train_samples as samples
from train_samples import config, quietly

from emofuse.manifests.licences import UNKNOWN
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, write_store
from emofuse.train import Run, export
from emofuse.train.exporting.card.card_scores import calibration_table, class_lines, group_tables, shared_lines
from emofuse.train.exporting.card.card_sources import fitted_on, origin_lines
from emofuse.train.exporting.card.markdown import escaped, table


def card(run: Path, out: Path, **options: Any) -> str:
    """The model card of a run."""
    made = export(run=run, format="card", out=out, say=lambda line: None, **options)
    assert (made.file, made.check) == (None, None)
    assert [path.name for path in made.folder.iterdir()] == ["MODEL_CARD.md"]
    return (made.folder / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("card")
    samples.protocol_file(made)
    of = samples.utterances()
    text = FeatureData(
        modality="text",
        arrays=samples.frames(of, 1, dimension=5),
        encoder="bert",
        fingerprint={"revision": "1"},
        provenance={"fitted_on": [{"corpus": "books", "labels": False}]},
    )
    write_store(made / "tiny.h5", Manifest(corpus="tiny", reader="tiny-1", utterances=of), {"bert": text})
    quietly(config(made, "run", "text", steps=4, folds="1,2"))
    return made


def test_a_card_says_what_the_run_recorded(folder: Path, tmp_path: Path) -> None:
    page, run = card(folder / "run", tmp_path / "card"), Run.open(folder / "run")
    assert page.startswith("# Model card: text on tiny4\n")
    ua, bounds = run.metrics["mean"]["ua"], run.metrics["interval"]["ua"]
    (row,) = (line for line in page.splitlines() if line.startswith("| UA |"))
    assert f"{ua:.3f} ± " in row
    assert f"{bounds[0]:.3f}-{bounds[1]:.3f}" in row
    assert "2 folds by session; train, validation and test share no session and no speaker and no dialogue" in page
    assert "| 1 | 32 | 16 | 16 |" in page
    assert "| text | bert | bert | 5 | books, without labels |" in page
    assert '"revision": "1"' in page
    assert "Tested utterances: ang 8, hap 8, neu 8, sad 8" in page
    assert "The exported mean of all of them has no score on this corpus" in page
    assert UNKNOWN.terms in page
    assert page.count("\n## ") >= 11


def test_the_command_and_the_commit_of_a_run_are_in_its_card(folder: Path, tmp_path: Path) -> None:
    call = {"started": "2026-01-01", "versions": {"torch": "2.8"}, "commit": "0123abcd"}
    run = Run.open(folder / "run")
    for command, shown in (
        (["fit", "--store", "a b.h5"], "fit --store 'a b.h5'"),
        ({"fit": {"folds": "1"}}, '"folds": "1"'),
    ):
        run.config["calls"] = [call | {"command": command}]
        page = "\n".join(origin_lines(run))
        assert shown in page
        assert "Commit of emofuse: 0123abcd" in page


def test_one_folds_card_does_not_speak_of_a_mean(folder: Path, tmp_path: Path) -> None:
    page = card(folder / "run", tmp_path / "card", fold=1)
    assert "1 model (fold 1, seed 0)" in page
    assert "averaged" not in page
    assert "no score on this corpus" not in page


def test_every_mark_of_a_run_is_at_the_top(folder: Path, tmp_path: Path) -> None:
    quietly(config(folder, "short", "text", steps=2, limit=32))
    top = card(folder / "short", tmp_path / "card").partition("## Model")[0]
    assert "- **short run: 32 utterances (--limit)**" in top.replace("\\", "")


def test_generated_data_is_named(tmp_path: Path) -> None:
    of = samples.utterances()
    samples.protocol_file(tmp_path, samples.TOML.replace('"tiny"', '"synthetic"'))
    samples.store(tmp_path / "tiny.h5", of, corpus="synthetic")
    quietly(config(tmp_path, "run", "text", steps=2, folds="1"))
    assert "**trained on generated signals, not on speech" in card(tmp_path / "run", tmp_path / "card")


def test_names_cannot_change_the_page() -> None:
    assert escaped("a|b\n# [x](y)\x1b") == "a\\|b\ufffd\\# \\[x\\](y)\ufffd"
    assert table(["a", "b"], [["x|y", 1]]) == ["| a | b |", "| --- | --- |", "| x\\|y | 1 |", ""]


METRICS: Mapping[str, Any] = {
    "recall": {"ang": 0.5, "hap": None},
    "per_class": {"ang": {"precision": 0.25, "recall": 0.5, "f1": 0.333, "support": 4}},
    "groups": {
        "gender": {"female": {"n": 12, "ua": 0.4, "wa": 0.5}},
        "speaker": {str(i): {"n": 1, "ua": 0.0, "wa": 0.0} for i in range(31)},
    },
    "worst_groups": {"gender": {"name": "female", "n": 12, "ua": 0.4, "wa": 0.5}},
    "calibration": {
        "ece": 0.1, "classwise_ece": 0.2, "brier": 0.3, "nll": 1.5,
        "calibrated": {"ece": 0.05, "classwise_ece": 0.1, "brier": 0.25, "nll": 1.25},
    },
}  # fmt: skip


def test_groups_classes_and_calibration_are_tables() -> None:
    assert "| ang | 0.250 | 0.500 | 0.333 | 4 |" in class_lines(METRICS)
    groups = group_tables(METRICS)
    assert "| female | 12 | 0.400 | 0.500 |" in groups
    assert "31 speakers: see metrics.json." in groups
    assert "- lowest UA by group: gender female 0.400 of 12 utterances" in groups
    calibration = calibration_table(METRICS)
    assert "| the model's own | 0.100 | 0.200 | 0.300 | 1.500 |" in calibration
    assert "| with a temperature | 0.050 | 0.100 | 0.250 | 1.250 |" in calibration


def test_what_test_shares_with_training_is_listed() -> None:
    texts = {"test_texts": 12, "repeated": 2, "scores": {"repeated": {"ua": 0.75}, "others": {"ua": 0.5}}}
    shared = {
        "metrics": ["ua"],
        "classes": ["ang", "hap"],
        "mean": {"ua": 0.6},
        "pooled": {"ua": 0.5},
        "repeated_texts": texts,
        "near_duplicates": [{"fold": 1, "test": "a", "other": "b", "correlation": 0.987}],
        "class_gaps": [{"fold": 2, "untrained": ["hap"], "untested": []}],
    }
    lines = shared_lines(shared)
    assert "| texts also in training, 2 utterances | 0.750 |" in lines
    assert "| texts not in training, 10 utterances | 0.500 |" in lines
    assert any(line.startswith("- nearly the same audio in test") and "a ~ b (0.99, fold 1)" in line for line in lines)
    assert "- never trained, so its recall counts as 0: hap in fold 2" in lines
    assert shared_lines({key: shared[key] for key in ("metrics", "classes")}) == []


def test_old_runs_have_recall_alone() -> None:
    old = {"recall": METRICS["recall"]}
    assert class_lines(old)[2:] == ["| ang | 0.500 |", "| hap | - |", ""]
    assert group_tables(old) == ["The run records no scores of speakers, sessions or genders.", ""]
    assert calibration_table(old) == []


def test_a_run_of_version_0_1_0_has_a_card(tmp_path: Path) -> None:
    runs = Path(__file__).parents[3] / "archives" / "run-v0.1.0" / "runs"
    (run,) = (path.parent for path in runs.glob("*/metrics.json"))
    page = card(run, tmp_path / "card")
    classes = json.loads((run / "metrics.json").read_text())["classes"]
    assert f"Gives: probabilities of {', '.join(classes)}, in this order" in page


def test_a_task_over_several_corpora_says_what_each_keeps_apart(tmp_path: Path) -> None:
    for corpus in ("big", "small", "far"):
        joint.store(tmp_path, corpus)
    joint.protocol(tmp_path, "far", far=True)
    quietly(joint.config(tmp_path, test="far", steps=2, out=tmp_path / "run"))
    page = card(tmp_path / "run", tmp_path / "card")
    assert "no speaker of small" in page
    assert "no session and no speaker and no dialogue of big" in page
    assert "; the test side is far" in page
    assert "Corpus: big, small, far" in page or "Corpus: small, big, far" in page


def test_per_fold_features_say_what_each_was_fitted_on() -> None:
    entry = [{"corpus": "tiny", "labels": True, "sessions": ["1"]}]
    found = fitted_on({"bert@1": {"fitted_on": entry}, "bert@2": {"fitted_on": []}})
    assert found == "bert@1: tiny, session 1; bert@2: no labels"
    assert fitted_on({}) == "not recorded"

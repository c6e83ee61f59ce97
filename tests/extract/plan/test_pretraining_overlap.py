"""Clips that were seen in pre-training are found in the corpus, recorded, and reported by `fit`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import finetune_samples as samples
import pytest
import torch
from click.testing import CliRunner
from finetune_samples import extract, finetune, put_tone
from pretrain_samples import QUICK, pretrain

from emofuse.extract.plan.pretraining_overlap import pretraining_overlap
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureStore
from emofuse.train.commands.fit import fit

SEEN = [f"s1u{n:02d}" for n in range(3)] + ["s2u04"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and a network that has seen four of its clips among others."""
    torch.set_num_threads(1)
    folder = samples.make(tmp_path_factory.mktemp("overlap"), audio=True)
    for n in range(24):
        put_tone(folder / "own" / f"s1u{n:02d}.wav", 150.0 + 20 * n, 1.2, n)
    put_tone(folder / "own" / "s2u04.wav", 700.0, 1.3, 99)
    for name in SEEN:
        (folder / "recordings").mkdir(exist_ok=True)
        shutil.copy(folder / "own" / f"{name}.wav", folder / "recordings" / f"as-{name}.wav")
    put_tone(folder / "recordings" / "other.wav", 440.0, 1.5, 7)
    done = pretrain("trill", "--audio", folder / "recordings", "--out", folder / "run", *QUICK)
    assert done.exit_code == 0, done.output
    return folder


def test_clips_seen_in_pretraining_are_recorded_whatever_their_names(folder: Path, tmp_path: Path) -> None:
    for n, weights in enumerate((folder / "run", folder / "run" / "model.safetensors")):
        target = tmp_path / f"{n}.h5"
        assert extract(folder, "--weights", weights, "--store", target, encoder="trill").exit_code == 0
        with FeatureStore(target) as store:
            (entry,) = store.feature("trill").provenance["fitted_on"]
        assert entry == {"corpus": "custom", "labels": False, "ids": SEEN}


def test_fit_reports_the_overlap_and_continues(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    assert extract(folder, "--weights", folder / "run", "--store", target, encoder="trill").exit_code == 0
    task = [
        "--protocol",
        str(folder / "own3.toml"),
        "--model",
        "linear",
        "--steps",
        "4",
        "--out",
        str(tmp_path / "fit"),
    ]
    done = CliRunner().invoke(fit, ["--store", str(target), *task])
    assert done.exit_code == 0, done.output
    assert "fold 1 (1): the encoder of 'trill' was fitted on 3 of 24 test utterances, without labels" in done.output
    assert "fold 3 (3)" not in [line for line in done.output.splitlines() if "without labels" in line]


def test_fine_tuning_keeps_the_record(folder: Path, tmp_path: Path) -> None:
    options = ("--folds", 3, "--epochs", 1, "--out", tmp_path / "tuned")
    done = finetune(folder, *options, encoder="trill", weights="run")
    assert done.exit_code == 0, done.output
    target = tmp_path / "x.h5"
    assert extract(folder, "--weights", tmp_path / "tuned", "--store", target, encoder="trill").exit_code == 0
    with FeatureStore(target) as store:
        without, labelled = store.feature("trill-finetuned@3").provenance["fitted_on"]
    assert (without["labels"], without["ids"]) == (False, SEEN)
    assert labelled["labels"] is True
    # Another corpus of the same clips: the fine-tuned checkpoint keeps the record.
    for weights in (tmp_path / "tuned", tmp_path / "tuned" / "fold_3"):
        assert [e["labels"] for e in pretraining_overlap(str(weights), replace(surveyed(folder), corpus="other"))] == [
            False
        ]


def surveyed(folder: Path) -> Manifest:
    target = folder / "surveyed.h5"
    if not target.exists():
        assert extract(folder, "--store", target, encoder="logmel").exit_code == 0
    with FeatureStore(target) as store:
        return store.manifest


def test_an_unseen_corpus_records_nothing(folder: Path, tmp_path: Path) -> None:
    other = samples.make(tmp_path, audio=True)
    assert extract(other, "--weights", folder / "run", encoder="trill").exit_code == 0
    with FeatureStore(other / "own.h5") as store:
        assert store.feature("trill").provenance["fitted_on"] == []

"""From `finetune` over `extract --weights RUN` to `fit`: one feature per fold, and no leak."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import finetune_samples as samples
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from finetune_samples import extract, finetune
from patch_samples import save_random_weights

from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.store import FeatureStore
from emofuse.train.commands.fit import fit as fit_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a run over its three folds, one over its second alone, and an unfinished one."""
    torch.set_num_threads(1)
    folder = samples.make(tmp_path_factory.mktemp("finetuned"), audio=True)
    for out, *options in (("run", "--epochs", 6), ("two", "--folds", 2), ("half",)):
        assert finetune(folder, "--out", folder / out, *options).exit_code == 0
    (folder / "half" / "metrics.json").unlink()
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    done = extract(folder, "--weights", folder / "run")
    assert done.exit_code == 0, done.output
    return folder / "own.h5"


def fit(store: Path, *options: object) -> Result:
    task = ["--protocol", str(store.parent / "own3.toml"), "--set", "hidden=8", "--steps", "8"]
    if "--model" not in options:
        task += ["--model", "text"]
    return CliRunner().invoke(fit_command, ["--store", str(store), *task, *map(str, options)])


def test_a_run_becomes_one_feature_per_fold_that_records_what_it_was_fitted_on(folder: Path, store: Path) -> None:
    with FeatureStore(store) as opened:
        assert list(opened.features) == [f"bert-finetuned@{n}" for n in (1, 2, 3)]
        texts = [u.text for u in opened.manifest.utterances]
        for number in (1, 2, 3):
            part = opened.feature(f"bert-finetuned@{number}")
            weights = str(folder / "run" / f"fold_{number}")
            wanted = ENCODERS["bert"].build(EncoderOptions(weights=weights)).encode(texts)
            np.testing.assert_allclose(part.read(part.ids).values, np.concatenate(wanted), atol=0.01)
            (entry,) = part.provenance["fitted_on"]
            assert {id[:2] for id in entry["ids"]} == {f"s{s}" for s in (1, 2, 3) if s != number}
            assert part.provenance["fold"]["name"] == str(number)
            assert part.provenance["encoder_options"] == ["--weights", str(folder / "run")]


def test_fit_takes_each_folds_feature_and_refuses_a_leak(store: Path, tmp_path: Path) -> None:
    done = fit(store, "--out", tmp_path / "fit")
    assert done.exit_code == 0, done.output
    assert "bert-finetuned (bert), 32-dimensional, a separate feature for each fold" in done.output
    done = fit(store, "--text", "bert-finetuned@3")
    assert done.exit_code == 2
    assert "with their labels: s1u00, s1u01, s1u02, ..." in done.stderr


def test_the_same_command_again_has_nothing_to_do(folder: Path, store: Path) -> None:
    before = store.read_bytes()
    done = extract(folder, "--weights", folder / "run")
    assert done.exit_code == 0, done.output
    assert done.output.count("nothing to do") == 3
    assert store.read_bytes() == before


def test_names_are_the_users(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "named.h5"
    assert extract(folder, "--weights", folder / "run", "--name", "mine", "--store", target).exit_code == 0
    with FeatureStore(target) as opened:
        assert list(opened.features) == ["mine@1", "mine@2", "mine@3"]
    done = fit_in(target, folder, "--text", "mine", "--folds", 1, "--out", tmp_path / "fit")
    assert done.exit_code == 0, done.output


def fit_in(store: Path, folder: Path, *options: object) -> Result:
    return fit(store, "--protocol", folder / "own3.toml", *options)


def test_a_dry_run_names_the_feature_of_every_fold_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    done = extract(folder, "--weights", folder / "run", "--store", tmp_path / "dry.h5", "--dry-run")
    assert done.exit_code == 0, done.output
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [f"bert-finetuned@{n}" for n in (1, 2, 3)]
    assert not (tmp_path / "dry.h5").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "half"], "half is unfinished; the same `emofuse finetune` command resumes it"),
        (["--weights", "run", "--encoder", "roberta"], "weights belongs to one encoder"),
        (["--weights", "run/fold_9"], "run has no fold_9: pass a fold that exists"),
    ],
    ids=["unfinished", "two encoders", "no such fold"],
)
def test_a_run_that_cannot_be_used_is_refused(
    folder: Path, tmp_path: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = extract(folder, *options, "--store", tmp_path / "x.h5")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "x.h5").exists()


def test_a_damaged_run_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "fold_2")
    done = extract(folder, "--weights", tmp_path / "run", "--store", tmp_path / "x.h5")
    assert done.exit_code == 2
    assert "run has no fold_2: pass a fold that exists" in done.stderr
    for damaged in ("{}", '{"run": {"encoder": "bert", "corpus": "custom", "folds": "x"}}'):
        config = json.dumps({"format": "emofuse-finetune-1", **json.loads(damaged)})
        (tmp_path / "run" / "config.json").write_text(config)
        done = extract(folder, "--weights", tmp_path / "run", "--store", tmp_path / "x.h5")
        assert done.exit_code == 3
        assert "config.json is damaged" in done.stderr


def test_fine_tuning_starts_from_one_checkpoint_not_from_a_run(folder: Path, tmp_path: Path) -> None:
    done = finetune(folder, "--weights", folder / "run", "--out", tmp_path / "again")
    assert done.exit_code == 2
    assert f"is a run of several checkpoints: pass one, {folder / 'run'}/fold_1" in done.stderr


def test_the_run_of_another_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    done = extract(folder, "--weights", folder / "run", "--store", tmp_path / "x.h5", encoder="roberta")
    assert done.exit_code == 2
    assert "holds fine-tuned weights of encoder bert, not of roberta" in done.stderr


def other_corpus(folder: Path, weights: Path, target: Path) -> Result:
    """The synthetic corpus's texts, read with weights that were fitted on a custom corpus."""
    from emofuse.datasets.synthetic import write_synthetic
    from emofuse.extract.commands.extract import extract as command

    if not (folder / "synthetic").exists():
        write_synthetic(folder / "synthetic")
    options = ["--dataset", "synthetic", "--root", str(folder / "synthetic"), "--encoder", "bert", "--limit", "40"]
    return CliRunner().invoke(command, [*options, "--weights", str(weights), "--store", str(target), "--quiet"])


@pytest.mark.slow
def test_another_corpus_takes_the_weights_of_one_fold_as_one_feature(folder: Path, tmp_path: Path) -> None:
    done = other_corpus(folder, folder / "two", tmp_path / "s.h5")
    assert done.exit_code == 0, done.output
    with FeatureStore(tmp_path / "s.h5") as opened:
        assert list(opened.features) == ["bert-custom"]
        (entry,) = opened.feature("bert-custom").provenance["fitted_on"]
        assert entry["corpus"] == "custom"
    task = [
        "--protocol",
        "synthetic4",
        "--model",
        "text",
        "--set",
        "hidden=8",
        "--steps",
        "2",
        "--allow-missing",
        "1920",
    ]
    options = ["--store", str(tmp_path / "s.h5"), *task, "--out", str(tmp_path / "fit")]
    done = CliRunner().invoke(fit_command, options)
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_another_corpus_takes_one_fold_of_several(folder: Path, tmp_path: Path) -> None:
    done = other_corpus(folder, folder / "run", tmp_path / "s.h5")
    assert done.exit_code == 2
    assert f"pass one fold's, such as --weights {folder / 'run' / 'fold_1'}" in done.stderr
    assert other_corpus(folder, folder / "run" / "fold_1", tmp_path / "s.h5").exit_code == 0
    with FeatureStore(tmp_path / "s.h5") as opened:
        assert list(opened.features) == ["bert-custom"]
    assert extract(folder, "--weights", folder / "run" / "fold_2", "--store", tmp_path / "own.h5").exit_code == 0
    with FeatureStore(tmp_path / "own.h5") as opened:
        assert list(opened.features) == ["bert-finetuned@2"]


def test_a_checkpoint_outside_its_run_still_records_what_it_was_fitted_on(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run" / "fold_2", tmp_path / "renamed")
    target = tmp_path / "one.h5"
    assert extract(folder, "--weights", tmp_path / "renamed", "--store", target).exit_code == 0
    done = fit_in(target, folder)
    assert done.exit_code == 2
    assert "fold 1 (1): the encoder of 'bert' was fitted on 24 of 24 test utterances, with their labels" in done.stderr
    assert fit_in(target, folder, "--folds", 2, "--out", tmp_path / "fit").exit_code == 0


@pytest.mark.parametrize("weights", ["run", "run/fold_1"])
def test_fine_tuned_weights_cannot_be_declared_unfitted(folder: Path, tmp_path: Path, weights: str) -> None:
    options = ("--weights", folder / weights, "--name", "clean", "--store", tmp_path / "x.h5")
    done = extract(folder, *options, "--fitted-on", "none")
    assert done.exit_code == 2
    assert "--fitted-on none: the weights themselves say that they were fitted on custom, 48 ids: " in done.stderr
    assert extract(folder, *options, "--fitted-on", "iemocap").exit_code == 0
    with FeatureStore(tmp_path / "x.h5") as opened:
        fitted_on = next(iter(opened.features.values())).provenance["fitted_on"]
    assert [entry["corpus"] for entry in fitted_on] == ["custom", "iemocap"]
    again = finetune(folder, "--out", tmp_path / "again", "--weights", folder / "run" / "fold_1")
    assert again.exit_code == 2
    assert "--fitted-on none: the weights themselves say" in again.stderr


def test_weights_that_are_fitted_further_record_both_corpora(folder: Path, tmp_path: Path) -> None:
    options = ("--folds", 1, "--out", tmp_path / "again", "--fitted-on", "iemocap:session=1")
    assert finetune(folder, *options).exit_code == 0
    assert extract(folder, "--weights", tmp_path / "again", "--store", tmp_path / "x.h5").exit_code == 0
    with FeatureStore(tmp_path / "x.h5") as opened:
        fitted_on = opened.feature("bert-finetuned@1").provenance["fitted_on"]
    assert [entry["corpus"] for entry in fitted_on] == ["iemocap", "custom"]


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["hubert", "yamnet", "trill"])
def test_audio_encoders_work_alike(folder: Path, tmp_path: Path, encoder: str) -> None:
    weights = "hubert" if encoder == "hubert" else save_random_weights(tmp_path, encoder)
    options = ("--folds", "1,2", "--epochs", 1, "--out", tmp_path / "run")
    done = finetune(folder, *options, encoder=encoder, weights=str(weights))
    assert done.exit_code == 0, done.output
    target = tmp_path / "x.h5"
    done = extract(folder, "--weights", tmp_path / "run", "--store", target, encoder=encoder)
    assert done.exit_code == 0, done.output
    more = ("--model", "audio", "--folds", "1,2", "--out", tmp_path / "fit")
    done = fit_in(target, folder, *more)
    assert done.exit_code == 0, done.output
    assert f"{encoder}-finetuned ({encoder})" in done.output
    done = fit_in(target, folder, "--model", "audio", "--audio", f"{encoder}-finetuned@2", "--folds", 1)
    assert done.exit_code == 2
    assert "s1u00, s1u01, s1u02" in done.stderr

"""`fit` on a per-fold feature: each fold uses the values whose encoder has not seen what the fold tests."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from click.testing import CliRunner, Result

from emofuse.common.errors import UsageError
from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.jsonl import write_manifest
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.commands.store import store as store_command
from emofuse.train.commands.fit import fit as fit_command
from emofuse.train.data.loader import Loader
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature, per_fold_features
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.make_plan import resolve

torch.set_num_threads(1)
UTTERANCES = samples.utterances()
FOLDS = build_folds(samples.protocol(), UTTERANCES, "validation")


def fold_feature(number: int, *, by: str = "session", labels: bool = True, **changes: Any) -> FeatureData:
    """What `extract` writes for one fold of `finetune`; its values differ from those of other folds."""
    fold = FOLDS[number - 1]
    seen = sorted(u.id for u in (*fold.train, *fold.validation))
    provenance = {
        "fitted_on": [{"corpus": "tiny", "labels": labels, "ids": seen}],
        "fold": {"number": number, "name": fold.name, "by": by, "validated": fold.validated, "protocol": "tiny4"},
        "corpus_options": ["--root", "tiny"],
        "encoder_options": ["--weights", "runs/finetune-x"],
    }
    arrays = samples.frames(UTTERANCES, 1, dimension=5, seed=number)
    made: dict[str, Any] = {
        "arrays": arrays,
        "encoder": "bert",
        "fingerprint": {"weights": f"of fold {number}"},
        "provenance": provenance,
    }
    return FeatureData(modality="text", **(made | changes))


def make(folder: Path, fold_features: dict[str, FeatureData]) -> Path:
    samples.protocol_file(folder)
    logmel = FeatureData(modality="audio", arrays=samples.frames(UTTERANCES, 0), encoder="logmel", frame_rate=20.0)
    manifest = Manifest(corpus="tiny", reader="tiny-1", utterances=UTTERANCES)
    write_store(folder / "tiny.h5", manifest, {"logmel": logmel, **fold_features})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("per_fold"), {f"bert-finetuned@{n}": fold_feature(n) for n in (1, 2, 3, 4)})


def fitted(store: Path, *arguments: object) -> Result:
    where = (
        "--store",
        store,
        "--protocol",
        store.parent / "tiny4.toml",
        "--model",
        "text",
        "--steps",
        "4",
        "--set",
        "hidden=8",
    )
    return CliRunner().invoke(fit_command, list(map(str, (*where, *arguments))))


def plan(folder: Path, **options: Any) -> FitPlan:
    with FeatureStore(folder / "tiny.h5") as store:
        return resolve(store, samples.config(folder, "x", "text", **options))


def test_each_fold_uses_the_values_of_its_own_feature(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        found = resolve(store, samples.config(folder, "x", "text"))
        loader, ids = Loader(found), [u.id for u in found.utterances]
        for fold in found.folds:
            values = loader.task_data(fold).modalities["text"].values.float().numpy()
            assert np.array_equal(values, store.feature(f"bert-finetuned@{fold.number}").read(ids).values)


def test_a_per_fold_feature_is_one_feature_and_those_of_single_folds_are_not_proposed(folder: Path) -> None:
    found = plan(folder)
    feature = found.features["text"]
    assert isinstance(feature, PerFoldFeature)
    assert feature.name == "bert-finetuned"
    assert list(feature.fingerprint) == [f"bert-finetuned@{n}" for n in (1, 2, 3, 4)]
    result = fitted(folder / "tiny.h5", "--text", "bret-finetuned")
    assert result.exit_code == 2
    assert "bert-finetuned" in result.stderr
    assert "@" not in result.stderr


def test_its_scores_equal_those_of_single_folds(folder: Path, tmp_path: Path) -> None:
    whole = samples.quietly(samples.config(folder, str(tmp_path / "whole"), "text"))
    two = samples.quietly(samples.config(folder, str(tmp_path / "two"), "text", text="bert-finetuned@2", folds="2"))
    alone = samples.rows(two / "predictions.csv")
    assert [r for r in samples.rows(whole / "predictions.csv") if r["fold"] == "2"] == alone


def test_the_identity_of_a_run_changes_with_the_feature_of_any_of_its_folds(folder: Path, tmp_path: Path) -> None:
    fold_features = {f"bert-finetuned@{n}": fold_feature(n) for n in (1, 2, 3, 4)}
    fold_features["bert-finetuned@3"] = fold_feature(3, fingerprint={"weights": "others"})
    other = make(tmp_path, fold_features)
    assert plan(folder).identity() != plan(other).identity()
    assert plan(folder, folds="1,2").identity() == plan(other, folds="1,2").identity()


def leak(result: Result, fold: int) -> None:
    assert result.exit_code == 2
    three = [u.id for u in FOLDS[fold - 1].test][:3]
    assert f"fold {fold} ({fold})" in result.stderr
    assert f"with their labels: {', '.join(three)}, ..." in result.stderr
    assert "Traceback" not in result.output


def test_the_feature_of_one_fold_is_refused_for_every_other_fold(folder: Path, tmp_path: Path) -> None:
    for fold in (1, 3, 4):
        leak(fitted(folder / "tiny.h5", "--text", "bert-finetuned@2"), fold)
        leak(fitted(folder / "tiny.h5", "--text", "bert-finetuned@2", "--folds", fold), fold)
    done = fitted(folder / "tiny.h5", "--text", "bert-finetuned@2", "--folds", 2, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output


def test_a_feature_under_another_folds_name_is_refused(tmp_path: Path) -> None:
    swapped = {1: 2, 2: 1, 3: 3, 4: 4}
    fold_features = {
        f"bert-finetuned@{n}": fold_feature(
            n, provenance={**fold_feature(n).provenance, "fitted_on": fold_feature(m).provenance["fitted_on"]}
        )
        for n, m in swapped.items()
    }
    result = fitted(make(tmp_path, fold_features) / "tiny.h5")
    leak(result, 1)
    leak(result, 2)
    assert "fold 3" not in result.stderr


def stored(*arguments: object) -> None:
    result = CliRunner().invoke(store_command, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


def copied(source: Path, target: Path) -> None:
    stored("copy", source, target)


def merged(source: Path, target: Path) -> None:
    for n in (1, 2):
        stored("copy", source, target.with_name(f"{n}.h5"), "--features", f"bert-finetuned@{n}")
    stored("merge", target, target.with_name("1.h5"), target.with_name("2.h5"))


def renamed(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def through(form: str) -> Any:
    def moved(source: Path, target: Path) -> None:
        rows = target.with_name("manifest.jsonl")
        with FeatureStore(source) as store:
            write_manifest(store.manifest, rows)
        for n in (1, 2):
            name, out = f"bert-finetuned@{n}", target.with_name(f"out{n}")
            stored("export", source, "--to", form, "--feature", name, "--out", out, "--quiet")
            new = [] if target.exists() else ["--manifest", rows]
            words = ("--from", form, "--source", out, "--name", name, "--modality", "text", *new)
            stored("import", target, *words, "--quiet")

    return moved


@pytest.mark.parametrize(
    "moved",
    [copied, merged, renamed, *map(through, ("npy", "parquet"))],
    ids=["copied", "merged", "renamed", "npy", "parquet"],
)
def test_copied_merged_and_exported_stores_still_refuse_leaks(folder: Path, tmp_path: Path, moved: Any) -> None:
    samples.protocol_file(tmp_path)
    target = tmp_path / "moved.h5"
    moved(folder / "tiny.h5", target)
    leak(fitted(target, "--text", "bert-finetuned@2"), 1)
    leak(fitted(target, "--text", "bert-finetuned@1", "--folds", "2"), 2)
    done = fitted(target, "--text", "bert-finetuned", "--folds", "1,2", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "a separate feature for each fold" in done.output


def test_another_name_for_the_corpus_hides_nothing(folder: Path, tmp_path: Path) -> None:
    out, target = tmp_path / "out.parquet", tmp_path / "renamed.h5"
    stored("export", folder / "tiny.h5", "--to", "parquet", "--feature", "bert-finetuned@2", "--out", out, "--quiet")
    words = ("--source", out, "--name", "clean", "--modality", "text", "--corpus", "mine", "--quiet")
    for _ in range(2):
        stored("import", target, "--from", "parquet", *(words if not target.exists() else (*words[:6], "--quiet")))
    samples.protocol_file(tmp_path, samples.TOML.replace('"tiny"', '"mine"'))
    leak(fitted(target, "--text", "clean"), 1)
    with FeatureStore(target) as store:
        assert [e["corpus"] for e in store.feature("clean").provenance["fitted_on"]] == ["tiny", "mine"]


def test_a_fold_without_a_feature_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path, {f"bert-finetuned@{n}": fold_feature(n) for n in (1, 3)})
    result = fitted(made / "tiny.h5")
    assert result.exit_code == 2
    assert (
        "has no per-fold feature for fold 2 (2), 4 (4) by session; it has those for 1 by session, 3 by session"
        in result.stderr
    )
    assert fitted(made / "tiny.h5", "--folds", "1,3", "--out", tmp_path / "run").exit_code == 0


def test_features_of_another_grouping_are_not_used_for_folds_of_the_same_name(tmp_path: Path) -> None:
    made = make(tmp_path, {f"bert-finetuned@{n}": fold_feature(n, by="speaker") for n in (1, 2, 3, 4)})
    result = fitted(made / "tiny.h5")
    assert result.exit_code == 2
    assert "has no per-fold feature for fold 1 (1), 2 (2), 3 (3), 4 (4) by session" in result.stderr


def test_features_of_different_fine_tuning_runs_are_refused(tmp_path: Path) -> None:
    runs = {1: "a", 2: "a", 3: "b", 4: "b"}
    made = make(
        tmp_path,
        {
            f"bert-finetuned@{n}": fold_feature(
                n, provenance={**fold_feature(n).provenance, "fold": {**fold_feature(n).provenance["fold"], "run": run}}
            )
            for n, run in runs.items()
        },
    )
    result = fitted(made / "tiny.h5")
    assert result.exit_code == 2
    assert "were fine-tuned with different settings" in result.stderr
    assert fitted(made / "tiny.h5", "--folds", "3,4", "--out", tmp_path / "run").exit_code == 0


def test_names_with_an_at_sign_are_not_always_per_fold_features(tmp_path: Path) -> None:
    plain = FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1, dimension=5), encoder="bert")
    wider = fold_feature(2, arrays=samples.frames(UTTERANCES, 1, dimension=7))
    make(
        tmp_path,
        {"a@1": plain, "b@1": fold_feature(1), "b@2": wider, "c": plain, "c@1": fold_feature(1), "@1": fold_feature(1)},
    )
    with FeatureStore(tmp_path / "tiny.h5") as store:
        assert per_fold_features(store) == {}


def test_an_utterance_missing_in_one_fold_is_left_out_of_all(tmp_path: Path) -> None:
    fold_features = {f"bert-finetuned@{n}": fold_feature(n) for n in (1, 2, 3, 4)}
    lost = UTTERANCES[5].id
    some = {k: v for k, v in fold_features["bert-finetuned@3"].arrays.items() if k != lost}
    fold_features["bert-finetuned@3"] = fold_feature(3, arrays=some)
    found = plan(make(tmp_path, fold_features))
    assert len(found.utterances) == len(UTTERANCES) - 1
    assert list(found.task.excluded) == [lost]


def test_training_without_labels_is_remarked_and_not_refused(tmp_path: Path) -> None:
    made = make(tmp_path, {"bert-audio": fold_feature(2, labels=False)})
    result = fitted(made / "tiny.h5", "--text", "bert-audio", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "fold 1 (1): the encoder of 'bert-audio' was fitted on 16 of 16 test utterances, without labels" in (
        result.output
    )


def test_an_unfinished_feature_names_the_command_that_makes_those_of_all_folds(tmp_path: Path) -> None:
    made = make(tmp_path, {f"bert-finetuned@{n}": fold_feature(n) for n in (1, 2, 3, 4)})
    with FeatureStore(made / "tiny.h5") as store:
        feature = store.feature("bert-finetuned@4")
        place = feature.complete_offset
    with (made / "tiny.h5").open("r+b") as file:
        file.seek(place)
        file.write(b"\0")
    result = fitted(made / "tiny.h5")
    assert result.exit_code == 2
    command = "extract --dataset tiny --root tiny --encoder bert --weights runs/finetune-x --store"
    assert f"feature 'bert-finetuned@4' of {made / 'tiny.h5'} is incomplete" in result.stderr
    assert command in result.stderr


def test_a_report_lists_no_thousand_ids(folder: Path, tmp_path: Path) -> None:
    done = fitted(folder / "tiny.h5", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) < 500
    with (tmp_path / "run" / "predictions.csv").open() as file:
        assert len(list(csv.reader(file))) == 1 + len(UTTERANCES)


def test_a_grouping_without_features_is_refused(folder: Path) -> None:
    with (
        FeatureStore(folder / "tiny.h5") as store,
        pytest.raises(UsageError, match=r"no per-fold feature for fold 1 \(1\)"),
    ):
        per_fold_features(store)["bert-finetuned"].for_folds(FOLDS[:1], "speaker")


def test_a_final_model_is_refused_since_no_encoder_may_see_all_folds(folder: Path) -> None:
    done = fitted(folder / "tiny.h5", "--final")
    assert done.exit_code == 2
    assert "--final trains one model on all data, and 'bert-finetuned' is a separate feature" in done.stderr

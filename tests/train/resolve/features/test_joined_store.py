"""`fit` over several stores: joined manifest and features, folds over both corpora, or a separate test corpus."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import joint_samples as joint
import numpy as np
import pytest
import torch
import train_samples as samples
from click.testing import CliRunner

from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureStore
from emofuse.train.api import fit
from emofuse.train.commands.fit import fit as command
from emofuse.train.data.loader import Loader
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.features.joined_store import JoinedStore, open_stores
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.fit_context import resolved

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("join")
    for corpus in joint.LABELS:
        joint.store(made, corpus)
    joint.protocol(made)
    joint.protocol(made, "far", far=True)
    return made


def plan(config: FitConfig) -> FitPlan:
    with resolved(config) as found:
        return found


def run(config: FitConfig) -> tuple[Path, str]:
    lines: list[str] = []
    return fit(config, say=lines.append).folder, "\n".join(lines)


def test_one_store_is_not_joined(folder: Path) -> None:
    with open_stores(FitConfig(store=folder / "big.h5", model="text")) as store:
        assert not isinstance(store, JoinedStore)


def test_a_joined_feature_reads_from_its_stores_in_the_requested_order(folder: Path) -> None:
    asked = ["small:s1_u003", "big:s2_u000", "big:s1_u003", "small:s2_u001", "small:s1_u000"]
    with open_stores(joint.config(folder)) as store, FeatureStore(folder / "big.h5") as big:
        joined = store.features["bert"]
        read = joined.read(asked)
        own = {id: store.members[id.split(":")[0]].features["bert"].read([id.split(":")[1]]).values for id in asked}  # type: ignore[union-attr]
        assert np.array_equal(read.values, np.concatenate([own[id] for id in asked]))
        assert read.lengths.tolist() == [len(own[id]) for id in asked]
        assert [int(joined.lengths[joined.position[id]]) for id in asked] == read.lengths.tolist()
        assert not np.array_equal(own["big:s1_u003"], own["small:s1_u003"])
        assert np.array_equal(own["big:s1_u003"], big.features["bert"].read(["s1_u003"]).values)


def test_the_order_of_the_stores_changes_nothing(folder: Path) -> None:
    one, other = plan(joint.config(folder)), plan(joint.config(folder, ("small", "big")))
    assert one.identity() == other.identity()
    assert [u.id for u in one.utterances] == [u.id for u in other.utterances]
    assert one.stores == {"big": str(folder / "big.h5"), "small": str(folder / "small.h5")}


def test_groups_of_both_corpora_are_tested_fold_by_fold(folder: Path) -> None:
    found = plan(joint.config(folder))
    assert [(f.name, len(f.train), len(f.validation), len(f.test)) for f in found.folds] == [
        ("big:1+small:1F+small:1M", 16, 32, 32),
        ("big:2+small:2F+small:2M", 32, 16, 32),
        ("big:3", 32, 32, 16),
    ]
    assert sorted(u.id for f in found.folds for u in f.test) == sorted(u.id for u in found.utterances)


def test_a_run_over_two_stores(folder: Path, tmp_path: Path) -> None:
    out, text = run(joint.config(folder, out=tmp_path / "run", steps=60))
    rows = samples.rows(out / "predictions.csv")
    assert {r["id"].split(":")[0] for r in rows} == {"big", "small"}
    assert len({r["id"] for r in rows}) == len(rows) == 80
    assert {r["label"] for r in rows} == {"anger", "happy", "neutral", "sad"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["pooled"]["ua"] > 0.7  # chance is 0.25; both corpora carry the same signal
    record = json.loads((out / "config.json").read_text())
    assert record["stores"] == {"big": str(folder / "big.h5"), "small": str(folder / "small.h5")}
    assert record["provenance"]["text"]["small"]["corpus_options"] == ["--root", "/data/small"]
    assert f"note      big from {folder / 'big.h5'} (--store)" in text
    assert "classes   anger 20, happy 20, neutral 20, sad 20; 80 in all" in text


def test_a_run_that_tests_another_corpus(folder: Path, tmp_path: Path) -> None:
    out, text = run(joint.config(folder, test="far", out=tmp_path / "run", steps=60))
    rows = samples.rows(out / "predictions.csv")
    calm = {f"far:{u.id}" for u in joint.utterances("far") if u.label == "calm"}
    assert {r["id"] for r in rows} == {f"far:{u.id}" for u in joint.utterances("far")} - calm
    (fold,) = json.loads((out / "metrics.json").read_text())["folds"]
    assert (fold["name"], fold["validated"]) == ("far", "big:3+small:2F")
    assert fold["utterances"] == {"train": 32 + 24, "validation": 16 + 8, "test": 36}
    assert fold["test"]["wa"] > 0.6
    assert f"far from {folder / 'far.h5'} (--test-store)" in text


def test_statistics_come_from_the_training_corpora_only(folder: Path) -> None:
    with resolved(joint.config(folder, test="far")) as found:
        corpus, train = Loader(found).task_data(found.folds[0]), found.folds[0].train
        place = {u.id: i for i, u in enumerate(found.utterances)}
        fitted = corpus.with_statistics_of(np.array([place[u.id] for u in train]))
        ids: dict[str, list[str]] = {}
        for u in train:
            ids.setdefault(u.id.split(":")[0], []).append(u.id.split(":")[1])
        own = [found.features["audio"].members[c].read(names).values for c, names in ids.items()]  # type: ignore[union-attr]
    assert fitted.statistics is not None
    assert set(ids) == {"big", "small"}
    assert fitted.statistics["audio"][0].numpy() == pytest.approx(np.concatenate(own).astype(float).mean(0), abs=1e-5)


def test_last_gives_the_validation_group_back_to_training(folder: Path) -> None:
    (fold,) = plan(joint.config(folder, test="far", select="last")).folds
    assert (len(fold.train), fold.validation, fold.validated, len(fold.test)) == (80, (), None, 36)
    assert len({u.id for u in fold.train}) == 80


def test_only_the_split_that_the_protocol_names_is_tested(folder: Path) -> None:
    protocol = joint.protocol(folder, "split", far=True, top='test_split = "test"')
    (fold,) = plan(joint.config(folder, test="far", protocol=protocol)).folds
    assert {u.split for u in fold.test} == {"test"}
    assert len(fold.test) == 12


def test_a_short_run_keeps_every_side(folder: Path) -> None:
    (fold,) = plan(joint.config(folder, test="far", limit=24)).folds
    assert sum(len(side) for side in fold.sides.values()) == 24
    assert all(len(side) >= 6 for side in fold.sides.values())


def test_the_default_protocol_of_several_stores_is_found(tmp_path: Path) -> None:
    names = {"iemocap": "big", "savee": "small"}
    for corpus, like in names.items():
        of = tuple(replace(u, speaker="DC" if like == "small" else u.speaker) for u in joint.utterances(like))
        joint.store(tmp_path, corpus, of, joint.features(like))
    found = plan(joint.config(tmp_path, ("savee", "iemocap"), protocol=None, allow_missing=6000, folds="1"))
    assert found.protocol.name == "joint4"
    assert found.folds[0].name == "iemocap:1+savee:DC"


@pytest.mark.parametrize("key", ["speaker", "dialogue"])
def test_a_name_shared_inside_a_corpus_is_a_leak_and_one_shared_between_corpora_is_not(
    tmp_path: Path, key: str
) -> None:
    assert set(joint.utterances("big")[0].speaker or "") & set(joint.utterances("small")[0].speaker or "")
    joint.store(tmp_path, "small")
    joint.protocol(tmp_path)
    of = joint.utterances("big")
    joint.store(tmp_path, "big", (replace(of[0], **{key: getattr(of[-1], key)}), *of[1:]))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"folds leak:(.|\n)*share 1 {key}\(s\): big:{getattr(of[-1], key)}"):
        plan(joint.config(tmp_path))


def test_the_grouping_key_must_exist_in_both_corpora(tmp_path: Path) -> None:
    joint.store(tmp_path, "big")
    joint.protocol(tmp_path)
    of = joint.utterances("small")
    joint.store(tmp_path, "small", (replace(of[0], speaker=None), replace(of[1], speaker="9F"), *of[2:]))
    with pytest.raises(UsageError) as caught:
        plan(joint.config(tmp_path))
    message = str(caught.value)
    assert "forms its folds by speaker of small and session of big, and 2 of 80 utterances are in none" in message
    assert "(none) 1, small:9F 1; valid: big:1, small:1F" in message


COUNTS = "[expected]\ntotal = 82\n[expected.classes]\nsmall = { anger = 8, happy = 10, neutral = 8, sad = 8 }\n"


def test_counts_of_each_corpus_are_refused_until_allowed(folder: Path) -> None:
    protocol = joint.protocol(folder, "counted", expected=COUNTS)
    with pytest.raises(UsageError) as caught:
        plan(joint.config(folder, protocol=protocol))
    message = str(caught.value)
    assert "utterances in all: found 80, expected 82" in message
    assert "small class happy: found 8, expected 10" in message
    assert "--allow-missing 2" in message
    found = plan(joint.config(folder, protocol=protocol, allow_missing=2))
    assert found.reduced()["differences"] == [
        "utterances in all: found 80, expected 82",
        "small class happy: found 8, expected 10",
    ]


def test_an_utterance_without_a_feature_is_excluded_under_its_joined_id(tmp_path: Path) -> None:
    joint.store(tmp_path, "big")
    joint.protocol(tmp_path)
    made, missing = joint.features("small"), joint.utterances("small")[3].id
    made["bert"] = replace(made["bert"], arrays={k: v for k, v in made["bert"].arrays.items() if k != missing})
    of = tuple(replace(u, text=None) if u.id == missing else u for u in joint.utterances("small"))
    joint.store(tmp_path, "small", of, made, excluded=(Excluded(id=missing, reason="text: gone", modality="text"),))
    found = plan(joint.config(tmp_path))
    assert found.task.excluded == {f"small:{missing}": "text: gone"}
    assert len(found.utterances) == 79


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_the_command_takes_several_stores(folder: Path, tmp_path: Path) -> None:
    quick = ("--model", "text", "--steps", "2", "--set", "hidden=4", "--out", tmp_path / "run", "--device", "cpu")
    stores = ("--store", folder / "small.h5", "--store", folder / "big.h5", "--test-store", folder / "far.h5")
    done = call(*stores, "--protocol", folder / "far.toml", *quick)
    assert done.exit_code == 0, done.output
    assert "text on far" in done.output
    assert (tmp_path / "run" / "fold_1" / "model.safetensors").exists()


def test_every_path_that_is_not_a_store_is_in_one_message(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        plan(joint.config(folder, ("big", "none", "nil"), test="far"))
    assert f"no store at {folder / 'none.h5'}" in str(caught.value)
    assert f"no store at {folder / 'nil.h5'}" in str(caught.value)


def test_a_damaged_store_among_several_is_damaged_data(folder: Path) -> None:
    (folder / "cut.h5").write_bytes((folder / "small.h5").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cut\.h5"):
        plan(joint.config(folder, ("big", "cut")))

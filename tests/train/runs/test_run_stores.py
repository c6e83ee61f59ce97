"""The stores of runs on one corpus and on several, as far as they are at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import joint_samples
import pytest
import report_samples as samples

from emofuse.common.errors import SeveralProblemsError
from emofuse.common.location import Location, Url
from emofuse.store import FeatureStore
from emofuse.train import Run, fit
from emofuse.train.inspection import open_fold
from emofuse.train.inspection.request import InspectionRequest
from emofuse.train.inspection.sections import model_sections
from emofuse.train.runs import run_stores
from emofuse.train.runs.run_stores import RunStores, find_stores, run_at_stores


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("joint")
    for corpus in ("small", "big"):
        joint_samples.store(folder, corpus)
    joint_samples.protocol(folder)
    config = joint_samples.config(folder, model="text", steps=4, settings=("lr=0.01", "hidden=4"), out=folder / "run")
    return fit(config, say=samples.silent)


def test_utterances_of_several_corpora_have_the_ids_of_the_run(joint: Run) -> None:
    found = find_stores(joint, ())
    assert found.corpora == ("big", "small")
    assert found.remarks == ()
    tested = {row["id"] for row in joint.utterances}
    assert tested <= set(found.utterances)
    member = found.utterances["small:s1_u000"]
    assert (member.corpus, member.utterance.id) == ("small", "s1_u000")
    assert found.texts["big:s1_u001"] == "words 1"


def test_one_of_several_stores_is_missing(joint: Run, tmp_path: Path) -> None:
    (joint.folder.parent / "small.h5").rename(tmp_path / "moved.h5")
    try:
        found = find_stores(joint, ())
        assert {u.corpus for u in found.utterances.values()} == {"big"}
        (remark,) = found.remarks
        assert remark.startswith("the store of small cannot be read (")
        assert remark.endswith("); name it with --store")
        found = find_stores(joint, [tmp_path / "moved.h5"])
        assert found.remarks == ()
        moved = run_at_stores(joint, found).config["stores"]
        assert moved == {"big": str(joint.folder.parent / "big.h5"), "small": str(tmp_path / "moved.h5")}
        assert joint.config["stores"]["small"] != moved["small"], "the run itself is as it was"
    finally:
        (tmp_path / "moved.h5").rename(joint.folder.parent / "small.h5")


def test_every_wrong_store_is_named(joint: Run, tmp_path: Path) -> None:
    with FeatureStore(joint.folder.parent / "small.h5") as store:
        members = store.manifest.utterances
    twin = joint_samples.store(tmp_path, "small", members, name="twin")
    (tmp_path / "text.h5").write_text("no store")
    with pytest.raises(SeveralProblemsError) as raised:
        find_stores(joint, [joint.folder.parent / "small.h5", twin, tmp_path / "text.h5"])
    assert [("both stores of small" in p, "text.h5" in p) for p in raised.value.problems] == [
        (True, False),
        (False, True),
    ]


def test_a_run_that_has_not_recorded_its_store(joint: Run) -> None:
    bare = Run(folder=joint.folder, metrics=joint.metrics)
    vars(bare)["config"] = {k: v for k, v in joint.config.items() if k not in ("store", "stores")}
    assert find_stores(bare, ()).remarks == ("the run has not recorded its store; name it with --store",)
    assert find_stores(bare, [joint.folder.parent / "big.h5"]).corpora == ("big",)


def test_a_recorded_url_is_opened_only_when_it_is_named(joint: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url, local = "https://example.org/a big.h5", joint.folder.parent / "small.h5"
    remote = Run(folder=joint.folder, metrics=joint.metrics)
    vars(remote)["config"] = joint.config | {"stores": {"big": url, "small": str(local)}}
    opened = []

    def store(path: Path | str) -> FeatureStore:
        opened.append(path)
        return FeatureStore(joint.folder.parent / "big.h5" if path == url else path)

    monkeypatch.setattr(run_stores, "FeatureStore", store)
    monkeypatch.setattr(open_fold, "FeatureStore", store)
    found = find_stores(remote, ())
    assert opened == [local]
    assert found.remarks == (f"the store of big is remote and was not opened: name it, --store '{url}'",)
    (section,) = model_sections(run_at_stores(remote, found), InspectionRequest())
    assert "no store of big is at hand" in section.blocks[0].lines[0]
    assert url not in opened
    assert find_stores(remote, [url]).remarks == ()
    given = Url("https://me:password@example.org/a.h5")
    moved = run_at_stores(remote, RunStores(paths={"big": given})).config["stores"]
    assert moved["big"] == given, "it is opened with the credentials that it was named with"


def test_credentials_that_an_early_run_recorded_are_not_shown(joint: Run, tmp_path: Path) -> None:
    url, signed = "https://me:hunter2@example.org/a.h5", "s3://b/c.h5?X-Amz-Signature=hunter2&versionId=3"
    calls = [
        {"command": ["fit", "--store", url]},
        {"command": {"fit": {"store": url, "more_stores": [signed]}}},
        {"command": None},
    ]
    config = joint.config | {"store": url, "stores": {"big": url, "small": signed}, "calls": calls}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = Run(folder=tmp_path, metrics=joint.metrics).config
    assert "hunter2" not in str(read)
    assert read["stores"] == {"big": "https://example.org/a.h5", "small": "s3://b/c.h5?versionId=3"}
    assert read["calls"][0]["command"] == ["fit", "--store", "https://example.org/a.h5"]


def test_a_relative_store_is_found_from_any_folder(joint: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "cache").mkdir(parents=True)
    shutil.copy(joint.folder.parent / "small.h5", project / "cache")
    run = Run(folder=project / "runs" / "one", metrics=joint.metrics)
    stores = {"small": "cache/small.h5"}

    def found(**config: object) -> Location:
        vars(run)["config"] = joint.config | {"stores": stores, "calls": []} | config
        return find_stores(run, ()).paths["small"]

    monkeypatch.chdir(tmp_path)
    assert found() == project / "cache" / "small.h5", "above the run"
    (tmp_path / "other" / "cache").mkdir(parents=True)
    shutil.copy(joint.folder.parent / "small.h5", tmp_path / "other" / "cache")
    assert found(calls=[{"folder": str(tmp_path / "other")}]) == tmp_path / "other" / "cache" / "small.h5"
    assert found(calls=[{"folder": str(tmp_path / "gone")}]) == project / "cache" / "small.h5"
    monkeypatch.chdir(project)
    assert found(calls=[{"folder": str(project)}]) == Path("cache/small.h5"), "as it was typed"

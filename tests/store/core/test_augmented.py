"""Augmented copies in a store: an element that readers of version 1 refuse, shown as what it is, never exported."""

from __future__ import annotations

from pathlib import Path

import commands
import h5py
import numpy as np
import pytest
from store_samples import arrays, manifest

from emofuse.common.errors import UsageError
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.core import feature as reader
from emofuse.store.core.augmented import copied_name, copies_of, describe_copy, plain_features
from emofuse.store.edit.rewrite import copy as copy_store
from emofuse.store.exchange import export
from emofuse.store.exchange.registry import FORMATS
from emofuse.store.inspect.verify import verify

ARCHIVE = Path(__file__).parents[2] / "archives" / "store-v1-feature-v2.h5"
M = manifest(3)
MADE = {
    "version": 1,
    "seed": 7,
    "copy": 1,
    "transforms": {"speed": {"factor": [0.9, 1.1]}, "gain": {"db": [-6.0, 6.0]}},
}


def data(seed: int, **fingerprint: object) -> FeatureData:
    return FeatureData(
        modality="audio", arrays=arrays(M, 4, seed=seed), frame_rate=50.0, fingerprint={"weights": "abc", **fingerprint}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_store(tmp_path / "s.h5", M, {"hubert": data(0), "hubert@copy1": data(1, augmentation=MADE)})
    return tmp_path / "s.h5"


def versions(path: Path) -> dict[str, int]:
    with h5py.File(path) as file:
        return {name: int(group.attrs["version"]) for name, group in file["features"].items()}


def test_a_copy_is_a_feature_of_version_2_also_in_a_copied_store(path: Path, tmp_path: Path) -> None:
    assert versions(path) == {"hubert": 1, "hubert@copy1": 2}
    with FeatureStore(path) as store:
        copy_store(store, tmp_path / "t.h5", dtype="int8")
    assert versions(tmp_path / "t.h5") == {"hubert": 1, "hubert@copy1": 2}
    assert all(found.intact for found in verify(tmp_path / "t.h5"))


def test_a_reader_of_version_1_refuses_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FEATURE_VERSION", 1)
    with pytest.raises(UsageError, match=r"'hubert@copy1' has version 2, newer than 1: update emofuse"):
        FeatureStore(path)


def test_the_archive_reads_as_it_was_written() -> None:
    with FeatureStore(ARCHIVE) as store:
        assert store.manifest == M
        plain, copy = store["hubert"], store["hubert@copy1"]
        assert (plain.is_copy, copy.is_copy, copy.fingerprint["augmentation"]) == (False, True, MADE)
        want = np.concatenate([*arrays(M, 4, seed=1).values()])
        np.testing.assert_allclose(copy.read(M.ids).values, want, rtol=1e-3, atol=1e-4)


def test_names_of_copies(path: Path) -> None:
    with FeatureStore(path) as store:
        assert list(plain_features(store.features)) == ["hubert"]
        assert [f.name for f in copies_of(store.features, "hubert")] == ["hubert@copy1"]
        assert copies_of(store.features, "hubert@copy1") == []
        assert [copied_name(f) for f in store.features.values()] == ["hubert", "hubert"]
        assert describe_copy(store["hubert"]) == ""


def test_a_name_alone_makes_no_copy(tmp_path: Path) -> None:
    write_store(tmp_path / "n.h5", M, {"hubert": data(0), "hubert@copy1": data(1)})
    with FeatureStore(tmp_path / "n.h5") as store:
        assert copies_of(store.features, "hubert") == []
        assert copied_name(store["hubert@copy1"]) == "hubert@copy1"


def test_info_says_what_it_is(path: Path) -> None:
    shown = commands.run("store", ["info", str(path)])
    line = "hubert@copy1: copy 1 of hubert, augmented by gain and speed (seed 7), for training only"
    assert (shown.returncode, line in shown.stdout) == (0, True), shown.stdout


def test_removing_a_feature_says_that_its_copies_stay(path: Path) -> None:
    done = commands.run("store", ["rm", str(path), "hubert"])
    note = f"note: augmented copies of it stay; remove them: emofuse store rm {path} hubert@copy1"
    assert (done.returncode, note in done.stdout + done.stderr) == (0, True), done.stdout


def test_other_settings_of_a_copy_are_named_one_by_one(path: Path) -> None:
    other = {**MADE, "seed": MADE["seed"] + 1}
    with pytest.raises(UsageError, match=r"augmentation\.seed: stored 7, asked for 8") as caught:
        write_store(path, M, {"hubert@copy1": data(1, augmentation=other)})
    assert "transforms" not in str(caught.value)


@pytest.mark.parametrize("format", [entry.name for entry in FORMATS if entry.value.write is not None])
def test_no_format_takes_a_copy(path: Path, tmp_path: Path, format: str) -> None:
    with pytest.raises(UsageError, match=r"augmented copy, for training only.*no format here can mark copies"):
        export(path, format, ["hubert@copy1"], tmp_path / "out")
    assert not (tmp_path / "out").exists()

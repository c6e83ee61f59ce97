"""Stores that other programs have rewritten are restored, bit for bit."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from edit_samples import AUDIO, M, compressed, damage, foreign_copy, path, run, values

from emofuse.common.errors import DataError
from emofuse.store import FeatureStore
from emofuse.store.edit.repack import repack
from emofuse.store.inspect.verify import verify

__all__ = ["path"]


def test_repack_of_our_own_changes_nothing(path: Path) -> None:
    with FeatureStore(path) as store:
        before = store.digest
    done = repack(path)
    assert abs(done.freed) < 5000
    assert done.damaged == {}
    with FeatureStore(path) as store:
        assert store.digest == before
    np.testing.assert_array_equal(values(path, "hubert"), np.concatenate([*AUDIO.values()]))


def test_repack_undoes_another_programs_compression(path: Path, tmp_path: Path) -> None:
    before, foreign = values(path, "hubert"), tmp_path / "foreign.h5"
    foreign_copy(path, foreign)
    with FeatureStore(foreign) as store:
        assert {"hubert", "bert"} == set(store.damaged_features)
        assert "emofuse store repack" in str(store.damaged_features["hubert"])
    done = run("repack", foreign)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(values(foreign, "hubert"), before)
    with FeatureStore(foreign) as store, FeatureStore(path) as old:
        assert store.digest == old.digest
        assert store.manifest == old.manifest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign.h5", "s.h5"]


def test_repack_copies_damaged_values_and_names_them(path: Path, tmp_path: Path) -> None:
    damage(path, "hubert", "u005")
    foreign = foreign_copy(path, tmp_path / "foreign.h5")
    for store in (path, foreign):
        done = run("repack", store)
        assert done.returncode == 3
        assert "hubert: 1 damaged, u005 first" in done.stdout
        assert [v.damaged for v in verify(store)] == [(), ("u005",)]
    assert run("verify", "--repair", foreign).returncode == 0
    with FeatureStore(foreign) as store:
        assert set(M.ids) - set(store.feature("hubert").ids) == {"u005"}


def test_what_another_program_rewrote_is_not_dropped_by_a_repair(path: Path, tmp_path: Path) -> None:
    foreign = foreign_copy(path, tmp_path / "foreign.h5")
    result = run("verify", foreign)
    assert (result.returncode, "nothing is lost" in result.stderr) == (3, True)
    kept = foreign.read_bytes()
    refused = run("verify", "--repair", foreign)
    assert (refused.returncode, "emofuse store repack" in refused.stderr) == (2, True)
    assert foreign.read_bytes() == kept


def test_a_store_that_was_compressed_as_a_whole_is_repacked(path: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.h5"
    with FeatureStore(path) as store:
        before = store.digest
    with h5py.File(path) as old, h5py.File(foreign, "w") as new:
        for name, value in old.attrs.items():
            new.attrs[name] = value
        compressed(old, new, everything=True)
    with pytest.raises(DataError, match="was rewritten by another program"):
        FeatureStore(foreign)
    assert run("repack", foreign).returncode == 0
    with FeatureStore(foreign) as store:
        assert store.digest == before
    np.testing.assert_array_equal(values(foreign, "hubert"), values(path, "hubert"))


def test_compressed_zeros_are_not_trusted(path: Path, tmp_path: Path) -> None:
    foreign = foreign_copy(path, tmp_path / "bomb.h5")
    with h5py.File(foreign, "r+") as file:
        del file["manifest/text"]
        file["manifest"].create_dataset("text", shape=(1 << 32,), dtype="u1", compression="gzip", chunks=(1 << 20,))
    with pytest.raises(DataError, match="far more than a file of this size can have"):
        repack(foreign)


def test_groups_that_hold_each_other_are_not_followed(path: Path, tmp_path: Path) -> None:
    foreign = foreign_copy(path, tmp_path / "loop.h5")
    with h5py.File(foreign, "r+") as file:
        for where in ("manifest", "features/hubert"):
            file[where]["loop"] = file["/"]
    assert repack(foreign).damaged == {}
    np.testing.assert_array_equal(values(foreign, "hubert"), values(path, "hubert"))
    with h5py.File(foreign) as file:
        assert "loop" not in file["manifest"]


def test_a_manifest_of_another_type_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["manifest"].attrs["type"] = "feature"
    with FeatureStore(path) as store, pytest.raises(DataError, match="its type is 'feature', expected 'manifest'"):
        _ = store.manifest

"""Copies, removals, repairs and additions: only what was asked for changes."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from edit_samples import AUDIO, TEXT, M, damage, path, run, values
from store_samples import manifest

from emofuse.common.errors import DataError
from emofuse.manifests.jsonl import write_manifest
from emofuse.store import FeatureData, FeatureSpec, FeatureStore, FeatureWriter, write_store
from emofuse.store.edit.repack import repack
from emofuse.store.edit.rewrite import add, copy, remove_features
from emofuse.store.inspect.verify import repair, verify

__all__ = ["path"]


def test_a_slim_copy(path: Path, tmp_path: Path) -> None:
    slim = tmp_path / "slim.h5"
    done = run("copy", path, slim, "--features", "hubert", "--dtype", "fp16")
    assert (done.returncode, done.stderr) == (0, "")
    with FeatureStore(slim) as store, FeatureStore(path) as old:
        assert list(store.features) == ["hubert"]
        assert store.manifest == old.manifest
        feature = store.feature("hubert")
        assert (feature.spec.dtype, feature.frame_rate, feature.fingerprint) == ("float16", 50.0, {"w": 1})
        assert feature.provenance["stored_before_as"] == "float32"
    np.testing.assert_array_equal(values(slim, "hubert"), values(path, "hubert").astype("f2"))
    assert all(v.intact for v in verify(slim))
    again = run("copy", path, slim)
    assert (again.returncode, "already exists" in again.stderr) == (2, True)
    wrong = run("copy", path, tmp_path / "x.h5", "--features", "wavlm")
    assert (wrong.returncode, "Valid: bert, hubert" in wrong.stderr) == (2, True)
    assert not (tmp_path / "x.h5").exists()


def test_int8_keeps_every_channel_within_half_a_step(path: Path, tmp_path: Path) -> None:
    small = tmp_path / "int8.h5"
    with FeatureStore(path) as store:
        copy(store, small, dtype="int8")
    for name, given in (("hubert", AUDIO), ("bert", TEXT)):
        want = np.concatenate([*given.values()])
        step = np.abs(want).max(0) / 127
        assert (np.abs(values(small, name) - want) <= 0.51 * step + 1e-3).all()
        with FeatureStore(small) as store:
            feature = store.feature(name)
            assert feature.spec.dtype == "int8"
            assert feature.scale is not None
            assert feature.scale.shape == feature.spec.frame_shape
            assert feature.provenance.get("fitted_on") == (
                None if name == "hubert" else [{"corpus": "meld", "labels": True}]
            )
    with h5py.File(small) as file:
        group = file["features/hubert"]
        plain = group["values"][()] * group["scale"][()]
    np.testing.assert_allclose(plain, values(small, "hubert"), rtol=1e-6)
    with h5py.File(small, "r+") as file:
        file["features/hubert/scale"][3] *= 2
    with FeatureStore(small) as store:
        assert list(store.damaged_features) == ["hubert"], "the scale is under the digest"


def test_damaged_values_are_not_converted(path: Path, tmp_path: Path) -> None:
    damage(path, "hubert", "u004")
    with FeatureStore(path) as store, pytest.raises(DataError, match="u004"):
        copy(store, tmp_path / "x.h5", dtype="float16")
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_repair_drops_what_is_damaged_and_extract_fills_it(path: Path, tmp_path: Path) -> None:
    damage(path, "hubert", "u004")
    damage(path, "hubert", "u009")
    assert run("verify", "--quick", path).returncode == 0, "quick reads no values"
    done = run("verify", "--repair", path)
    assert done.returncode == 0, done.stderr
    assert "damaged: u004" in done.stdout
    assert all(v.intact for v in verify(path))
    with FeatureStore(path) as store:
        assert set(M.ids) - set(store.feature("hubert").ids) == {"u004", "u009"}
        assert store.feature("bert").ids == M.ids
        assert store.manifest == M
        spec = store.feature("hubert").spec
    with FeatureWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        assert writer.pending == ["u004", "u009"]
        for id in writer.pending:
            writer.put(id, AUDIO[id])
        writer.commit()
    np.testing.assert_array_equal(values(path, "hubert"), np.concatenate([*AUDIO.values()]))


def test_repair_leaves_what_has_been_filled_meanwhile(path: Path) -> None:
    damage(path, "hubert", "u004")
    found = verify(path)
    damage(path, "hubert", "u004")  # the same bits again: undamaged now
    repair(path, found)
    with FeatureStore(path) as store:
        assert store.feature("hubert").ids == M.ids


def test_a_lost_index_costs_its_feature_alone(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["features/hubert/row"][3] = 7
    with FeatureStore(path) as store:
        assert list(store.features) == ["bert"]
        with pytest.raises(DataError, match=r"feature 'hubert' is damaged.*index is damaged"):
            store.feature("hubert")
    with pytest.raises(DataError, match="verify --repair"):
        remove_features(path, ["bert"])
    listed = run("verify", path)
    assert (listed.returncode, "hubert: unreadable" in listed.stdout, "bert: 12 utterances" in listed.stdout) == (
        3,
        True,
        True,
    )
    assert run("verify", "--repair", path).returncode == 0
    with FeatureStore(path) as store:
        assert list(store.features) == ["bert"]
        assert not store.damaged_features


def test_a_removed_feature_gives_its_space_back(path: Path) -> None:
    before, text = path.stat().st_size, values(path, "bert")
    done = run("rm", path, "hubert")
    assert done.returncode == 0, done.stderr
    payload = sum(a.nbytes for a in AUDIO.values())
    assert before - path.stat().st_size >= payload
    with FeatureStore(path) as store:
        assert list(store.features) == ["bert"]
    np.testing.assert_array_equal(values(path, "bert"), text)
    wrong = run("rm", path, "hubert")
    assert (wrong.returncode, "no feature 'hubert'" in wrong.stderr) == (2, True)
    assert run("rm", path).returncode == 2
    assert run("rm", path, "bert", "--utterance", "u001").returncode == 2


def test_a_store_without_texts(path: Path, tmp_path: Path) -> None:
    slim = tmp_path / "slim.h5"
    assert run("copy", path, slim, "--no-text").returncode == 0
    assert b"quoted" in path.read_bytes()
    assert b"quoted" not in slim.read_bytes()
    with FeatureStore(slim) as store:
        assert [u.text for u in store.manifest.utterances] == [None] * len(M)
        assert store.feature("bert").stale == []
        changed = replace(M, utterances=tuple(replace(u, text="new") if u.id == "u003" else u for u in M.utterances))
        merged = changed.merged_into(store.manifest)
        assert merged.withholds_text
        assert all(u.text is None for u in merged.utterances)
    assert add(slim, changed) == 0
    with FeatureStore(slim) as store:
        assert store.feature("bert").stale == ["u003"], "a changed text is still noticed"
        assert store.manifest == changed.without_text()


def test_a_grown_corpus_is_added(path: Path, tmp_path: Path) -> None:
    write_manifest(manifest(15), tmp_path / "grown.jsonl")
    done = run("add", path, "--manifest", tmp_path / "grown.jsonl")
    assert done.returncode == 0, done.stderr
    assert "3 utterances added; still to extract: bert 3, hubert 3" in done.stdout
    with FeatureStore(path) as store:
        assert store.manifest == manifest(15)
        assert store.feature("hubert").ids == M.ids
    write_manifest(manifest(corpus="meld"), tmp_path / "other.jsonl")
    wrong = run("add", path, "--manifest", tmp_path / "other.jsonl")
    assert (wrong.returncode, "corpus 'tiny', the manifest of 'meld'" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_permissions_stay(path: Path, mode: int) -> None:
    path.chmod(mode)
    remove_features(path, ["bert"])
    assert stat.S_IMODE(path.stat().st_mode) == mode
    write_store(path, M, {"again": FeatureData(modality="audio", arrays=AUDIO)})
    assert stat.S_IMODE(path.stat().st_mode) == mode
    repack(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_damaged_manifest_is_restored_from_a_copy(path: Path, tmp_path: Path) -> None:
    write_manifest(M, tmp_path / "m.jsonl")
    write_manifest(manifest(11), tmp_path / "other.jsonl")
    sound = tmp_path / "sound.h5"
    sound.write_bytes(path.read_bytes())
    for source in ("m.jsonl", "sound.h5"):
        with h5py.File(path) as file:
            offset = file["manifest/text"].id.get_offset()
        with path.open("r+b") as file:
            file.seek(offset + 3)
            file.write(b"!")
        result = run("verify", path)
        assert (result.returncode, "--repair --manifest M" in result.stderr) == (3, True)
        wrong = run("verify", "--repair", "--manifest", tmp_path / "other.jsonl", path)
        assert (wrong.returncode, "11 utterances of tiny" in wrong.stderr) == (2, True)
        done = run("verify", "--repair", "--manifest", tmp_path / source, path)
        assert done.returncode == 0, done.stderr
        with FeatureStore(path) as store:
            assert store.manifest == M
        np.testing.assert_array_equal(values(path, "hubert"), values(sound, "hubert"))


def test_a_part_is_not_repaired(path: Path, tmp_path: Path) -> None:
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    with FeatureWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        for id in writer.pending[:5]:
            writer.put(id, AUDIO[id])
    result = run("verify", tmp_path / "s.h5.wavlm.part")
    assert (result.returncode, "not complete, 7 not yet written" in result.stdout) == (3, True)
    assert "damaged" not in result.stdout
    assert run("verify", "--repair", tmp_path / "s.h5.wavlm.part").returncode == 2


def test_a_part_with_all_its_values_is_completed(path: Path, tmp_path: Path) -> None:
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    with FeatureWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        for id in writer.pending:
            writer.put(id, AUDIO[id])
    part = tmp_path / "s.h5.wavlm.part"
    result = run("verify", part)
    assert (result.returncode, "not complete" in result.stdout) == (3, True)
    assert "all values are written: `emofuse store verify --repair" in result.stderr
    assert "drop" not in result.stderr
    done = run("verify", "--repair", part)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("wavlm: completed; all 12 utterances kept\n")
    assert run("verify", part).returncode == 0
    np.testing.assert_array_equal(values(part, "wavlm"), np.concatenate([AUDIO[i] for i in M.ids]).astype(np.float16))


def test_a_store_without_features_is_verified_too(path: Path) -> None:
    assert run("rm", path, "hubert", "bert").returncode == 0
    assert "manifest: no damage; no features" in run("verify", path).stdout
    with h5py.File(path, "r+") as file:
        file["manifest/text"][2] = 65
    assert run("verify", path).returncode == 3


@pytest.mark.parametrize("verb", [("rm", "hubert"), ("repack",), ("verify", "--repair")])
def test_what_lies_behind_a_url_is_not_changed(verb: tuple[str, ...], tmp_path: Path) -> None:
    words = [verb[0], "http://127.0.0.1:9/s.h5", *verb[1:]]
    done = run(*words)
    assert (done.returncode, "can only be read" in done.stderr) == (2, True)
    absent = run(verb[0], tmp_path / "no" / "s.h5", *verb[1:])
    assert (absent.returncode, "no store at" in absent.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []

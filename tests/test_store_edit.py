"""Copies, removals and growth: what is asked for is gone or there, everything else is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from store_samples import arrays, manifest

from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.schema import WITHDRAWN, write_manifest
from emofuse.store import FeatureData, FeatureSpec, FeatureStore, PartWriter, write_store
from emofuse.store.edit import add, copy, remove_features, remove_utterances
from emofuse.store.repack import repack
from emofuse.store.verify import repair, verify

M = manifest()
AUDIO, TEXT = arrays(M, dimension=40), arrays(M, dimension=8, layers=2, seed=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return two_features(tmp_path / "s.h5")


def two_features(path: Path) -> Path:
    said = {"fitted_on": [{"corpus": "meld", "labels": True}]}
    audio = FeatureData(modality="audio", arrays=AUDIO, dtype="float32", frame_rate=50.0, fingerprint={"w": 1})
    text = FeatureData(modality="text", arrays=TEXT, layers=(3, 4), provenance=said)
    write_store(path, M, {"hubert": audio, "bert": text})
    return path


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emofuse.common.umbrella", "store", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def values(path: Path, name: str) -> np.ndarray:
    with FeatureStore(path) as store:
        feature = store.feature(name)
        return feature.read(feature.ids).values


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
    assert all(v.sound for v in verify(slim))
    again = run("copy", path, slim)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
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


def damage(path: Path, feature: str, id: str) -> None:
    with FeatureStore(path) as store:
        held = store.feature(feature)
        offset = held.values_offset + int(held.starts[held.position[id]]) * held.spec.frame_bytes
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x41]))


def test_repair_drops_what_is_damaged_and_extract_fills_it(path: Path, tmp_path: Path) -> None:
    damage(path, "hubert", "u004")
    damage(path, "hubert", "u009")
    assert run("verify", "--quick", path).returncode == 0, "quick reads no values"
    done = run("verify", "--repair", path)
    assert done.returncode == 0, done.stderr
    assert "damaged: u004" in done.stdout
    assert all(v.sound for v in verify(path))
    with FeatureStore(path) as store:
        assert set(M.ids) - set(store.feature("hubert").ids) == {"u004", "u009"}
        assert store.feature("bert").ids == M.ids
        assert store.manifest == M
        spec = store.feature("hubert").spec
    with PartWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        assert writer.pending == ["u004", "u009"]
        for id in writer.pending:
            writer.put(id, AUDIO[id])
        writer.commit()
    np.testing.assert_array_equal(values(path, "hubert"), np.concatenate([*AUDIO.values()]))


def test_repair_leaves_what_has_been_filled_meanwhile(path: Path) -> None:
    damage(path, "hubert", "u004")
    found = verify(path)
    damage(path, "hubert", "u004")  # the same bits again: it is sound now
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
    assert (listed.returncode, "hubert: lost" in listed.stdout, "bert: 12 utterances" in listed.stdout) == (
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


def test_nothing_of_a_withdrawn_utterance_stays_in_any_file(path: Path, tmp_path: Path) -> None:
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    with PartWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        for id in writer.pending[:6]:
            writer.put(id, AUDIO[id])
    (tmp_path / "s.h5.new").write_bytes(path.read_bytes())
    kept = {n: values(path, n) for n in ("hubert", "bert")}
    secret = [AUDIO["u004"].tobytes(), AUDIO["u004"].astype("f2").tobytes(), TEXT["u004"].astype("f2").tobytes()]
    secret += [b"u004", "Sätze 4".encode(), b"wav/u004"]
    held = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert all(s in held for s in secret), "the test looks for what is there"
    done = run("rm", path, "--utterance", "u004")
    assert done.returncode == 0, done.stderr
    assert "1 utterances removed (bert 1, hubert 1, wavlm 1)" in done.stdout
    held = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert [s for s in secret if s in held] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.h5", "s.h5.wavlm.part"]
    rest = [i for i in M.ids if i != "u004"]
    with FeatureStore(path) as store:
        assert store.manifest.ids == rest
        for name, given in (("hubert", AUDIO), ("bert", TEXT)):
            assert store.feature(name).ids == rest
            want = np.concatenate([given[i] for i in rest])
            np.testing.assert_allclose(values(path, name), want, rtol=1e-3, atol=1e-4)
            assert len(kept[name]) == len(want) + len(given["u004"])
    without = replace(M, utterances=tuple(u for u in M.utterances if u.id != "u004"))
    with PartWriter(path, without, spec, {i: len(AUDIO[i]) for i in rest}) as writer:
        assert writer.pending == rest[5:], "what was under way goes on"


def test_a_withdrawn_utterance_can_be_kept_out(path: Path) -> None:
    assert run("rm", path, "--speaker", "s1", "--keep-out").returncode == 0
    of_speaker = {u.id for u in M.utterances if u.speaker == "s1"}
    with FeatureStore(path) as store:
        assert {e.id for e in store.manifest.excluded if e.reason == WITHDRAWN} == of_speaker
        merged = M.merged_into(store.manifest)
        assert of_speaker.isdisjoint(merged.ids), "extract does not add it again"
        spec = store.feature("hubert").spec
    with PartWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        assert writer.pending == []
        writer.commit()
    with FeatureStore(path) as store:
        assert of_speaker.isdisjoint(store.manifest.ids)


def test_removal_is_refused_while_a_part_is_written(path: Path) -> None:
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    before = path.read_bytes()
    with (
        PartWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}),
        pytest.raises(UsageError, match=rf"s\.h5\.wavlm\.part \(host .*, process {os.getpid()}, since"),
    ):
        remove_utterances(path, ["u004"])
    assert path.read_bytes() == before
    with pytest.raises(
        UsageError, match=r"(?s)no utterance 'nobody' among 12.*no utterance 'u044' among 12; near: u004"
    ):
        remove_utterances(path, ["nobody", "u004", "u044"])
    with pytest.raises(UsageError, match="no speaker 's9'; there are s0, s1, s2"):
        remove_utterances(path, [], ["s9"])


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
    assert "3 utterances added; bert lacks 3, hubert lacks 3" in done.stdout
    with FeatureStore(path) as store:
        assert store.manifest == manifest(15)
        assert store.feature("hubert").ids == M.ids
    write_manifest(manifest(corpus="meld"), tmp_path / "other.jsonl")
    wrong = run("add", path, "--manifest", tmp_path / "other.jsonl")
    assert (wrong.returncode, "corpus 'tiny', the manifest of 'meld'" in wrong.stderr) == (2, True)


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


def compressed(old: h5py.Group, new: h5py.Group, everything: bool = False) -> None:
    for name, node in old.items():
        if isinstance(node, h5py.Group):
            made = new.create_group(name)
            for key, value in node.attrs.items():
                made.attrs[key] = value
            compressed(node, made, everything)
        else:
            small = name.startswith("values") or name == "row" or (everything and node.size > 0)
            new.create_dataset(name, data=node[()], **({"compression": "gzip", "chunks": True} if small else {}))


def foreign_copy(path: Path, foreign: Path) -> Path:
    with h5py.File(path) as old, h5py.File(foreign, "w") as new:
        for name, value in old.attrs.items():
            new.attrs[name] = value
        compressed(old, new)
    return foreign


def test_repack_carries_damaged_values_along_and_names_them(path: Path, tmp_path: Path) -> None:
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


def test_what_another_program_laid_out_is_not_repaired_away(path: Path, tmp_path: Path) -> None:
    foreign = foreign_copy(path, tmp_path / "foreign.h5")
    told = run("verify", foreign)
    assert (told.returncode, "nothing is lost" in told.stderr) == (3, True)
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
    with pytest.raises(DataError, match="was laid out by another program"):
        FeatureStore(foreign)
    assert run("repack", foreign).returncode == 0
    with FeatureStore(foreign) as store:
        assert store.digest == before
    np.testing.assert_array_equal(values(foreign, "hubert"), values(path, "hubert"))


def test_compressed_zeros_are_not_believed(path: Path, tmp_path: Path) -> None:
    foreign = foreign_copy(path, tmp_path / "bomb.h5")
    with h5py.File(foreign, "r+") as file:
        del file["manifest/text"]
        file["manifest"].create_dataset("text", shape=(1 << 32,), dtype="u1", compression="gzip", chunks=(1 << 20,))
    with pytest.raises(DataError, match="far more than the file can mean"):
        repack(foreign)

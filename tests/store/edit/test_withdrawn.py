"""A consent is withdrawn: nothing of the utterance stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edit_samples import AUDIO, TEXT, M, path, run, values
from store_samples import arrays, manifest

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import WITHDRAWN
from emofuse.store import FeatureSpec, FeatureStore, FeatureWriter
from emofuse.store.edit.rewrite import remove_utterances

__all__ = ["path"]


def test_nothing_of_a_withdrawn_utterance_stays_in_any_file(path: Path, tmp_path: Path) -> None:
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    with FeatureWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
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
    assert "1 utterance removed (bert 1, hubert 1, wavlm 1)" in done.stdout
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
    with FeatureWriter(path, without, spec, {i: len(AUDIO[i]) for i in rest}) as writer:
        assert writer.pending == rest[5:], "what was under way goes on"


def test_a_withdrawn_utterance_can_be_kept_out(path: Path) -> None:
    assert run("rm", path, "--speaker", "s1", "--keep-out").returncode == 0
    of_speaker = {u.id for u in M.utterances if u.speaker == "s1"}
    with FeatureStore(path) as store:
        assert {e.id for e in store.manifest.excluded if e.reason == WITHDRAWN} == of_speaker
        merged = M.merged_into(store.manifest)
        assert of_speaker.isdisjoint(merged.ids), "extract does not add it again"
        spec = store.feature("hubert").spec
    with FeatureWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}) as writer:
        assert writer.pending == []
        writer.commit()
    with FeatureStore(path) as store:
        assert of_speaker.isdisjoint(store.manifest.ids)


def test_removal_is_refused_while_a_part_is_written(path: Path) -> None:
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    before = path.read_bytes()
    with (
        FeatureWriter(path, M, spec, {i: len(a) for i, a in AUDIO.items()}),
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


def test_a_speaker_whom_only_a_part_knows_is_found(path: Path, tmp_path: Path) -> None:
    grown = manifest(18)
    more = arrays(grown, dimension=40)
    spec = FeatureSpec(name="wavlm", modality="audio", encoder="wavlm", dimension=40)
    with FeatureWriter(path, grown, spec, {i: len(a) for i, a in more.items()}) as writer:
        for id in writer.pending:
            writer.put(id, more[id])
    done = run("rm", path, "--speaker", "s1")
    assert done.returncode == 0, done.stderr
    assert "6 utterances removed" in done.stdout, "four of the store, six of the part"
    held = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    for id in (u.id for u in grown.utterances if u.speaker == "s1"):
        assert more[id].astype("f2").tobytes() not in held
        assert id.encode() not in held


def test_the_file_behind_a_link_is_the_one_that_changes(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.h5").symlink_to(path)
    remove_utterances(tmp_path / "link.h5", ["u004"])
    assert (tmp_path / "link.h5").is_symlink()
    with FeatureStore(path) as store:
        assert "u004" not in store.manifest.ids


def test_a_part_that_cannot_be_read_stops_it_and_says_what_to_do(path: Path, tmp_path: Path) -> None:
    (tmp_path / "s.h5.wavlm.part").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    before = path.read_bytes()
    done = run("rm", path, "--utterance", "u004")
    assert (done.returncode, "s.h5.wavlm.part" in done.stderr, "delete it, then run this" in done.stderr) == (
        3,
        True,
        True,
    )
    assert path.read_bytes() == before

"""lhotse: its own classes read what we write, and we read what its own writers write."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import store_samples
from exchange_samples import (
    assert_same_frames,
    check,
    make_store,
    manifest,
    manifest_file,
    run_export,
    run_import,
    stored_frames,
)
from numpy.typing import NDArray

from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureData, FeatureStore
from emofuse.store.exchange.formats.lhotse import frame_count

lhotse = pytest.importorskip("lhotse")
SHIFT = 0.02
Frames = dict[str, NDArray[np.float32]]


def features(writer: Any, recording: str, frames: NDArray[np.float32], start: float = 0.0) -> Any:
    """A record as lhotse's FeatureSetBuilder makes one."""
    return lhotse.Features(
        type="hubert", num_frames=len(frames), num_features=frames.shape[1], frame_shift=SHIFT, sampling_rate=16000,
        start=start, duration=round(len(frames) * SHIFT, 6), storage_type=writer.name,
        storage_path=str(writer.storage_path), storage_key=writer.write(recording, frames), recording_id=recording,
        channels=0,
    )  # fmt: skip


def supervision(id: str, recording: str, start: float, duration: float, **more: Any) -> Any:
    return lhotse.SupervisionSegment(id=id, recording_id=recording, start=start, duration=duration, **more)


WRITERS = ["NumpyFilesWriter", "NumpyHdf5Writer", "LilcomChunkyWriter", "LilcomFilesWriter"]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_lhotse_writes_is_read(kind: str, tmp_path: Path) -> None:
    frames, src = store_samples.arrays(manifest()), tmp_path / "data"
    src.mkdir()
    with getattr(lhotse.features.io, kind)(src / "feats") as writer:
        records = [features(writer, id, f) for id, f in reversed(frames.items())]
    lhotse.FeatureSet.from_features(records).to_file(src / "feats.jsonl.gz")
    wanted = {f.recording_id: f.load() for f in records}  # lilcom loses a little
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    source = ("lhotse", src / "feats.jsonl.gz", "--manifest", manifest_path, "--dtype", "fp32")
    check(run_import(tmp_path / "a.h5", *source), 0, "12 utterances matched")
    assert_same_frames(stored_frames(tmp_path / "a.h5"), wanted)
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").frame_rate == 50.0


def test_lhotse_reads_what_we_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, out = make_store(tmp_path / "a.h5"), tmp_path / "out"
    check(run_export(tmp_path / "a.h5", "lhotse", out), 0)
    feature_set = lhotse.FeatureSet.from_file(out / "features.jsonl.gz").with_path_prefix(out)
    lhotse.validate(feature_set, read_data=True)
    assert_same_frames({f.recording_id: f.load() for f in feature_set}, frames)
    supervisions = lhotse.SupervisionSet.from_file(out / "supervisions.jsonl.gz")
    lhotse.validate(supervisions)
    cuts = lhotse.CutSet.from_manifests(features=feature_set, supervisions=supervisions)
    assert len(cuts) == 12
    for cut in cuts:
        (only,) = cut.supervisions
        u = next(u for u in manifest().utterances if u.id == only.id)
        assert (only.text, only.speaker, only.custom["emotion"]) == (u.text, u.speaker, u.label)
        np.testing.assert_array_equal(cut.load_features(), frames[u.id])
    cuts.to_file(out / "cuts.jsonl.gz")
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(run_import(tmp_path / "b.h5", "lhotse", out / "cuts.jsonl.gz", "--manifest", manifest_path), 0)
    assert_same_frames(stored_frames(tmp_path / "b.h5"), frames)
    check(run_import(tmp_path / "c.h5", "lhotse", out, "--corpus", "tiny", "--dtype", "fp32"), 0)
    with FeatureStore(tmp_path / "c.h5") as store:
        records = {u.id: (u.text, u.label, u.session, u.speaker, u.split) for u in store.manifest.utterances}
    assert records == {u.id: (u.text, u.label, u.session, u.speaker, u.split) for u in manifest().utterances}


def test_utterances_are_cut_out_of_long_recordings_as_lhotse_does(tmp_path: Path) -> None:
    src, rng = tmp_path / "data", np.random.default_rng(1)
    src.mkdir()
    with lhotse.NumpyFilesWriter(src / "feats") as writer:
        records = [features(writer, f"r{i}", rng.standard_normal((400, 3)).astype(np.float32)) for i in range(2)]
    spans = [(0.0, 1.0), (1.234, 2.345), (3.999, 0.511), (6.01, 1.99), (0.5, 7.5)]
    supervisions = [
        supervision(f"u{i:03d}", f"r{i % 2}", start, length, text="x") for i, (start, length) in enumerate(spans)
    ]
    lhotse.FeatureSet.from_features(records).to_file(src / "feats.jsonl")
    lhotse.SupervisionSet.from_segments(supervisions).to_file(src / "sups.jsonl")
    whole = lhotse.CutSet.from_manifests(
        features=lhotse.FeatureSet.from_features(records),
        supervisions=lhotse.SupervisionSet.from_segments(supervisions),
    )
    trimmed = whole.trim_to_supervisions(keep_overlapping=False)
    wanted = {cut.supervisions[0].id: cut.load_features() for cut in trimmed}
    # Where rounding leaves one frame too few at the end, lhotse repeats the last one; that is no value of the encoder.
    np.testing.assert_array_equal(wanted["u003"][-1], wanted["u003"][-2])
    wanted["u003"] = wanted["u003"][:-1]
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(5))
    check(
        run_import(tmp_path / "a.h5", "lhotse", src, "--manifest", manifest_path, "--dtype", "fp32"),
        0,
        "5 utterances matched",
    )
    assert_same_frames(stored_frames(tmp_path / "a.h5"), wanted)
    (src / "feats.jsonl").rename(tmp_path / "feats.jsonl")
    trimmed.to_file(src / "cuts.jsonl")
    check(run_import(tmp_path / "b.h5", "lhotse", src, "--manifest", manifest_path, "--dtype", "fp32"), 0)
    assert_same_frames(stored_frames(tmp_path / "b.h5"), wanted)
    whole.to_file(src / "cuts.jsonl")
    check(run_import(tmp_path / "c.h5", "lhotse", src, "--manifest", manifest_path), 2, "trim_to_supervisions")


def test_the_rule_for_frames_is_lhotses(tmp_path: Path) -> None:
    from lhotse.utils import compute_num_frames

    for seconds in np.random.default_rng(0).uniform(0, 30, 2000):
        assert frame_count(seconds, SHIFT, 16000) == compute_num_frames(seconds, SHIFT, 16000)


def folder(path: Path, *records: dict[str, Any], name: str = "feats.jsonl.gz") -> Path:
    path.mkdir(exist_ok=True)
    with gzip.open(path / name, "wt") as file:
        file.writelines(json.dumps(r) + "\n" for r in records)
    return path


def record(id: str = "u000", **change: Any) -> dict[str, Any]:
    return {
        "type": "x", "num_frames": 4, "num_features": 3, "frame_shift": SHIFT, "sampling_rate": 16000, "start": 0,
        "duration": 0.08, "storage_type": "numpy_files", "storage_path": "feats", "storage_key": f"{id}.npy",
        "recording_id": id, "channels": 0, **change,
    }  # fmt: skip


def test_hostile_and_damaged_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    secret = tmp_path / "secret"
    secret.mkdir()
    np.save(secret / "u000.npy", np.ones((4, 3)))
    src = tmp_path / "src"
    monkeypatch.chdir(tmp_path)

    def refused(change: dict[str, Any], code: int, *expected: str) -> None:
        check(
            run_import(tmp_path / "a.h5", "lhotse", folder(src, record(**change)), "--manifest", manifest_path),
            code,
            *expected,
        )
        assert not (tmp_path / "a.h5").exists()

    for outside in (str(secret), "../secret", "secret"):
        refused({"storage_path": outside}, 2, "lies outside of src")
    (src / "feats").mkdir()
    (src / "feats" / "u000.npy").symlink_to(secret / "u000.npy")
    refused({}, 2, "lies outside of src")
    (src / "feats" / "u000.npy").unlink()
    refused({"storage_key": "../../secret/u000.npy"}, 2, "lies outside of src")
    refused({}, 2, "is missing below src")
    for kind in ("kaldiio", "lilcom_url", "memory_raw", "shar"):
        refused({"storage_type": kind}, 2, f"storage '{kind}' is not supported")
    with (src / "feats" / "u000.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)})
    refused({"num_frames": 10**11}, 3, "but its header claims")
    np.save(src / "feats" / "u000.npy", np.ones((5, 3)))
    refused({}, 3, "the manifest says (4, 3)")
    refused({"num_frames": "many"}, 3, "num_frames is many")
    refused({"frame_shift": 1e-9}, 3, "the manifest says")
    refused({"start": float("inf")}, 3, "start is inf")
    folder(src, record())
    (src / "feats.jsonl.gz").write_bytes((src / "feats.jsonl.gz").read_bytes()[:-12])
    check(run_import(tmp_path / "a.h5", "lhotse", src, "--manifest", manifest_path), 3, "feats.jsonl.gz is damaged")
    (src / "feats.jsonl.gz").write_bytes(b"[1]\n")
    check(run_import(tmp_path / "a.h5", "lhotse", src, "--manifest", manifest_path), 3, "feats.jsonl.gz is damaged")
    (src / "feats.jsonl.gz").unlink()
    check(
        run_import(tmp_path / "a.h5", "lhotse", src, "--manifest", manifest_path), 2, "no .jsonl or .jsonl.gz manifest"
    )


def test_hostile_hdf5(tmp_path: Path) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    src = tmp_path / "src"
    frames = {"u000": 4, "u001": 4, "u002": 10**9, "u003": 10**9}
    kinds = {id: "lilcom_chunky" if id == "u003" else "numpy_hdf5" for id in frames}
    rows = [
        record(id, storage_type=kinds[id], storage_path="f.h5", storage_key=id, num_frames=count)
        for id, count in frames.items()
    ]
    folder(src, *rows)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.ones((4, 3), np.float32)
    with h5py.File(src / "f.h5", "w") as file:
        file["u000"] = h5py.ExternalLink(os.fspath(tmp_path / "other.h5"), "x")
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource(os.fspath(tmp_path / "other.h5"), "x", (4, 3))
        file.create_virtual_dataset("u001", layout)
        file.create_dataset("u002", (10**9, 3), "f4", chunks=(1024, 3))
    output = check(
        run_import(tmp_path / "a.h5", "lhotse", src, "--manifest", manifest_path),
        3,
        "u000: f.h5 has no separate array 'u000'",
    )
    assert "u001: f.h5: 'u001' is not a plain array" in output
    assert "u002: f.h5: 'u002' claims (1000000000, 3)" in output
    assert "u003: f.h5 has" in output


def test_features_without_time_are_refused_by_name(tmp_path: Path) -> None:
    of = manifest(3)
    make_store(tmp_path / "a.h5", of, bert=FeatureData(modality="text", arrays=store_samples.arrays(of)),
               odd=FeatureData(modality="audio", arrays=store_samples.arrays(of), frame_rate=31.7))  # fmt: skip
    check(
        run_export(tmp_path / "a.h5", "lhotse", tmp_path / "x", feature="bert"), 2, "need a time axis", "--to parquet"
    )
    check(run_export(tmp_path / "a.h5", "lhotse", tmp_path / "x", feature="odd"), 2, "whole samples at 16000 Hz")
    assert not (tmp_path / "x").exists()


def test_ids_that_no_file_name_can_hold_come_back(tmp_path: Path) -> None:
    ids = ("a/b", "../up", ".", "..", ".hidden", "50%", "a%2Fb", "ü ö", "c:d*?", "con|<>", "back\\slash")
    utterances = tuple(Utterance(id=id, audio=f"{n}.wav") for n, id in enumerate(ids))
    of = Manifest(corpus="tiny", reader="tests-1", utterances=utterances)
    frames = {id: np.full((3, 2), n, np.float32) for n, id in enumerate(ids)}
    make_store(tmp_path / "a.h5", of, hubert=FeatureData(modality="audio", arrays=frames, frame_rate=50.0))
    check(run_export(tmp_path / "a.h5", "lhotse", tmp_path / "out"), 0)
    files = [*(tmp_path / "out").rglob("*.npy")]
    assert len(files) == len(ids)
    assert all(p.parent == tmp_path / "out" / "frames" and not set(p.name) & set('<>:"|?*\\/') for p in files)
    manifest_path = manifest_file(tmp_path / "m.jsonl", of)
    check(run_import(tmp_path / "b.h5", "lhotse", tmp_path / "out", "--manifest", manifest_path), 0, "11 utterances")
    assert_same_frames(stored_frames(tmp_path / "b.h5"), stored_frames(tmp_path / "a.h5", "hubert"))

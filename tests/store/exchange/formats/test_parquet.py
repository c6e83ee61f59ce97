"""Parquet and Hugging Face's datasets: the real library reads what we write, and we read what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import store_samples
from exchange_samples import (
    FITTED,
    assert_same_frames,
    check,
    make_store,
    manifest,
    manifest_file,
    run,
    run_export,
    run_import,
    stored_frames,
)

from emofuse.store import FeatureData, FeatureStore

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def hf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hugging Face's datasets, with its cache in a folder of the test's own and without a network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def test_load_dataset_reads_an_export(hf: Any, tmp_path: Path) -> None:
    of = manifest()
    frames = make_store(tmp_path / "a.h5", of)
    out = tmp_path / "out.parquet"
    check(run_export(tmp_path / "a.h5", "parquet", out), 0)
    loaded = hf.load_dataset("parquet", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"][:] == of.ids
    for u, row in zip(of.utterances, loaded, strict=True):
        np.testing.assert_array_equal(np.array(row["hubert"], np.float32), frames[u.id])
        assert (row["text"], row["label"], row["split"], row["turn"]) == (u.text, u.label, u.split, u.turn)
        assert json.loads(row["extra"]) == u.extra
    loaded.save_to_disk(str(tmp_path / "saved"))
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    back = tmp_path / "b.h5"
    check(run_import(back, "huggingface", tmp_path / "saved", "--manifest", manifest_path), 0, "12 utterances written")
    assert_same_frames(stored_frames(back), frames)


def test_a_custom_saved_dataset(hf: Any, tmp_path: Path) -> None:
    of = manifest()
    frames = store_samples.arrays(of)

    def rows(split: str) -> dict[str, Any]:
        members = [u for u in reversed(of.utterances) if u.split == split]
        return {
            "id": [u.id for u in members],
            "label": [int(u.label == "sad") for u in members],
            "text": [u.text for u in members],
            "audio": [{"path": f"{u.id}.wav"} for u in members],
            "w2v": [frames[u.id].tolist() for u in members],
        }

    features = hf.Features({
        "id": hf.Value("string"), "label": hf.ClassLabel(names=["hap", "sad"]), "text": hf.Value("string"),
        "audio": {"path": hf.Value("string")}, "w2v": hf.Sequence(hf.Sequence(hf.Value("float32"))),
    })  # fmt: skip
    parts = {s: hf.Dataset.from_dict(rows(s), features=features) for s in ("train", "dev", "test")}
    hf.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    check(
        run_import(tmp_path / "a.h5", "huggingface", tmp_path / "saved", "--corpus", "tiny"), 0, "12 utterances written"
    )
    assert_same_frames(stored_frames(tmp_path / "a.h5"), frames)
    with FeatureStore(tmp_path / "a.h5") as store:
        made = {u.id: (u.label, u.split, u.text) for u in store.manifest.utterances}
    assert made == {u.id: (u.label, u.split, u.text) for u in of.utterances}


@pytest.mark.parametrize("kind", ["Array2D", "vectors", "shuffled"])
def test_other_ways_to_hold_frames(hf: Any, kind: str, tmp_path: Path) -> None:
    of = manifest(5)
    frames = store_samples.arrays(of)
    manifest_path = manifest_file(tmp_path / "m.jsonl", of)
    if kind == "vectors":
        frames = {id: f[:1] for id, f in frames.items()}
        made = hf.Dataset.from_dict({"id": list(frames), "x": [f[0].tolist() for f in frames.values()]})
    else:
        features = hf.Features({"id": hf.Value("string"), "x": hf.Array2D((None, 6), "float32")})
        made = hf.Dataset.from_dict({"id": list(frames), "x": list(frames.values())}, features=features)
        made = made.shuffle(seed=3) if kind == "shuffled" else made
    made.save_to_disk(str(tmp_path / "saved"))
    check(
        run_import(
            tmp_path / "a.h5", "huggingface", tmp_path / "saved", "--manifest", manifest_path, "--dtype", "fp32"
        ),
        0,
    )
    found = stored_frames(tmp_path / "a.h5")
    for id, f in frames.items():
        np.testing.assert_array_equal(found[id], f.astype(np.float32))
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").view == ("mean" if kind == "vectors" else "frames")


def test_a_folder_that_points_outside_is_refused(hf: Any, tmp_path: Path) -> None:
    hf.Dataset.from_dict({"id": ["u000"], "x": [[[1.0, 2.0]]]}).save_to_disk(str(tmp_path / "saved"))
    hf.Dataset.from_dict({"id": ["u000"], "x": [[[3.0, 4.0]]]}).save_to_disk(str(tmp_path / "other"))
    state = tmp_path / "saved" / "state.json"
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    state.write_text(state.read_text().replace("data-", "../other/data-"))
    result = run_import(tmp_path / "a.h5", "huggingface", tmp_path / "saved", "--manifest", manifest_path)
    check(result, 2, "files outside of the folder")
    state.write_text("{")
    check(
        run_import(tmp_path / "a.h5", "huggingface", tmp_path / "saved", "--manifest", manifest_path),
        3,
        "state.json is damaged",
    )
    check(run_import(tmp_path / "a.h5", "huggingface", tmp_path, "--manifest", manifest_path), 2, "save_to_disk")


def test_several_features_and_the_metadata_of_each(tmp_path: Path) -> None:
    of = manifest()
    audio, text = store_samples.arrays(of), store_samples.arrays(of, dimension=3, seed=2)
    provenance_record = {"fitted_on": FITTED}
    make_store(
        tmp_path / "a.h5",
        of,
        hubert=FeatureData(
            modality="audio", arrays=audio, frame_rate=50.0, dtype="float32", provenance=provenance_record
        ),
        bert=FeatureData(modality="text", arrays=text, dtype="float32", encoder="bert"),
    )
    out = tmp_path / "x.parquet"
    more = ("--feature", "hubert", "--feature", "bert")
    check(run("export", tmp_path / "a.h5", "--to", "parquet", *more, "--out", out), 0, "hubert, bert")
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(run_import(tmp_path / "b.h5", "parquet", out, "--manifest", manifest_path, name="hubert"), 0)
    check(run_import(tmp_path / "b.h5", "parquet", out, name="bert", modality="text"), 0)
    assert_same_frames(stored_frames(tmp_path / "b.h5", "hubert"), audio)
    assert_same_frames(stored_frames(tmp_path / "b.h5", "bert"), text)
    with FeatureStore(tmp_path / "b.h5") as store:
        assert store.feature("hubert").provenance["fitted_on"] == FITTED
        assert store.feature("bert").provenance["fitted_on"] == []
    check(run_import(tmp_path / "b.h5", "parquet", out, name="wavlm"), 2, "hubert, bert; none is called 'wavlm'")


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_that_cannot_be_taken(tmp_path: Path) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")

    def refused(source: Path, code: int, *expected: str) -> None:
        check(run_import(tmp_path / "a.h5", "parquet", source, "--manifest", manifest_path), code, *expected)
        assert not (tmp_path / "a.h5").exists()

    x = tmp_path / "x.parquet"
    ids = ["u000", "u001", "u002", "u003", "u004"]
    cells = [[[1.0, 2.0]], [[1.0, 2.0], [3.0]], [[None, 1.0]], None, [[float("nan"), 1.0]]]
    refused(table(x, id=ids, x=cells), 2, "u001: its frames have 2 different widths", "u002: it has 1 empty values",
            "u003: its cell is empty", "u004: 1 of its 2 values are NaN")  # fmt: skip
    refused(table(x, id=["u000", "u000"], x=[[[1.0]], [[2.0]]]), 2, "u000 (2 times)")
    refused(table(x, name=ids[:1], x=[[[1.0]]]), 2, "no column 'id'; it has name, x")
    refused(table(x, id=ids[:1], x=["a"]), 2, "columns of vectors are none")
    refused(table(x, id=ids[:1], x=[[["a"]]]), 2, "columns of vectors are none")
    refused(table(x, id=[None], x=[[[1.0]]]), 2, "a row cannot be read")
    whole = table(x, id=ids[:1], x=[[[1.0]]]).read_bytes()
    x.write_bytes(whole[: len(whole) // 2])
    refused(x, 3, "not a Parquet file, or is damaged")
    x.write_bytes(whole.replace(b"PAR1", b"PAR9"))
    refused(x, 3, "not a Parquet file, or is damaged")
    refused(tmp_path, 3, "damaged")


def test_a_corpus_of_many_blocks(tmp_path: Path) -> None:
    of = manifest(400)
    frames = {u.id: np.random.default_rng(i).standard_normal((250, 128)).astype(np.float32)
              for i, u in enumerate(of.utterances)}  # fmt: skip
    make_store(tmp_path / "a.h5", of, hubert=FeatureData(modality="audio", arrays=frames, dtype="float32"))
    check(run_export(tmp_path / "a.h5", "parquet", tmp_path / "x.parquet"), 0)
    assert pq.ParquetFile(tmp_path / "x.parquet").metadata.num_row_groups == 2
    manifest_path = manifest_file(tmp_path / "m.jsonl", of)
    check(run_import(tmp_path / "b.h5", "parquet", tmp_path / "x.parquet", "--manifest", manifest_path), 0)
    assert_same_frames(stored_frames(tmp_path / "b.h5"), frames)

"""MMSA's pickle: built and read as the project's own code does, padded, damaged, hostile."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import store_samples
from exchange_samples import (
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

from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureStore

SIDES = ("train", "valid", "test")


def pickled(path: Path, of: Manifest, shuffled: bool = False, **change: Any) -> tuple[Path, dict[str, Any]]:
    """A file as data/getLengths.py of MMSA leaves one, and the frames in it without their padding."""
    frames, rng, data = store_samples.arrays(of, dimension=4), np.random.default_rng(5), {}
    text_frames = {id: f[: 1 + len(f) % 5] for id, f in store_samples.arrays(of, dimension=3, seed=1).items()}
    for side in SIDES:
        members = [u for u in of.utterances if u.split == ("dev" if side == "valid" else side)]
        if shuffled:
            rng.shuffle(members)  # type: ignore[arg-type]
        audio, text = np.zeros((len(members), 50, 4), np.float32), np.zeros((len(members), 8, 3), np.float32)
        bert = np.zeros((len(members), 3, 8), np.float32)
        for i, u in enumerate(members):
            audio[i, : len(frames[u.id])] = frames[u.id]
            text[i, : len(text_frames[u.id])] = text_frames[u.id]
            bert[i, 0, : len(text_frames[u.id])], bert[i, 1, : len(text_frames[u.id])] = 101, 1
        data[side] = {
            "raw_text": np.array([u.text for u in members]),
            "audio": audio,
            "text": text,
            "text_bert": bert,
            "vision": np.zeros((len(members), 50, 2)),
            "id": [u.id for u in members],
            "annotations": ["Positive"] * len(members),
            "classification_labels": np.zeros(len(members)),
            "regression_labels": np.array([u.extra["sentiment"] for u in members]),
            "audio_lengths": [len(frames[u.id]) for u in members],
            "vision_lengths": [1] * len(members),
        }
        data[side] |= {k: v(data[side]) for k, v in change.items()}
        data[side] = {k: v for k, v in data[side].items() if v is not None}
    path.write_bytes(pickle.dumps(data, protocol=4))
    return path, {"audio": frames, "text": text_frames}


@pytest.mark.parametrize("shuffled", [False, True])
def test_padding_is_cut_to_the_lengths_that_the_file_states(shuffled: bool, tmp_path: Path) -> None:
    source, wanted = pickled(tmp_path / "unaligned_50.pkl", manifest(), shuffled)
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(
        run_import(tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path, "--frame-rate", "20"),
        0,
        "12 utterances written",
    )
    assert_same_frames(stored_frames(tmp_path / "a.h5"), wanted["audio"])
    check(run_import(tmp_path / "a.h5", "mmsa", source, modality="text", name="bert"), 0)  # lengths from the BERT mask
    assert_same_frames(stored_frames(tmp_path / "a.h5", "bert"), wanted["text"])


def test_a_manifest_from_the_file_itself(tmp_path: Path) -> None:
    of = manifest()
    source, _ = pickled(tmp_path / "a.pkl", of)
    check(run_import(tmp_path / "a.h5", "mmsa", source, "--corpus", "mosi", "--fitted-on", "none"), 0)
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.corpus == "mosi"
        made = {u.id: u for u in store.manifest.utterances}
    for u in of.utterances:
        assert (made[u.id].text, made[u.id].split, made[u.id].label) == (u.text, u.split, "Positive")
        assert made[u.id].extra == {"sentiment": u.extra["sentiment"]}


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_without_lengths_padding_is_never_taken_silently(modality: str, tmp_path: Path) -> None:
    source, _ = pickled(tmp_path / "a.pkl", manifest(), audio_lengths=lambda s: None, text_bert=lambda s: None)
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    into = (tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path)
    check(run_import(*into, modality=modality), 2, f"train, valid, test without {modality}_lengths", "--keep-padding")
    assert not (tmp_path / "a.h5").exists()
    check(run_import(*into, "--keep-padding", modality=modality), 0)
    assert {len(f) for f in stored_frames(tmp_path / "a.h5").values()} == {50 if modality == "audio" else 8}


def test_lengths_that_contradict_the_values_are_named(tmp_path: Path) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    source, frames = pickled(tmp_path / "a.pkl", manifest(), audio_lengths=lambda s: [1] * len(s["id"]))
    longer = [id for id, f in frames["audio"].items() if len(f) > 1]
    output = check(
        run_import(tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path), 2, "frames after that are not zero"
    )
    assert all(f"{id}: its length is 1" in output for id in longer)
    source, _ = pickled(tmp_path / "b.pkl", manifest(), audio_lengths=lambda s: [51] * len(s["id"]))
    check(run_import(tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path), 3, "but the array has 50 frames")
    source, _ = pickled(tmp_path / "c.pkl", manifest(), audio_lengths=lambda s: s["audio_lengths"][1:])
    check(
        run_import(tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path),
        3,
        "6 ids, 6 arrays of audio, 5 lengths",
    )


def test_minus_infinity_and_double_ids(tmp_path: Path) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")

    def silent(side: dict[str, Any]) -> Any:
        side["audio"][0, 0, 0] = -np.inf  # as MOSI's COVAREP features have it
        return side["audio"]

    source, _ = pickled(tmp_path / "a.pkl", manifest(), audio=silent)
    check(
        run_import(tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path),
        2,
        "u000: 1 of its",
        "NaN or infinite",
    )
    source, _ = pickled(tmp_path / "b.pkl", manifest(), id=lambda s: ["u000", *s["id"][1:]])
    check(
        run_import(tmp_path / "a.h5", "mmsa", source, "--manifest", manifest_path),
        2,
        "ids occur twice",
        "u000 (3 times)",
    )


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (1e300, "fp32", "value 1e+300 at [1, 2] does not fit float32; correct it in the source"),
        (-1e300, "bf16", "value 1e+300 at [1, 2] does not fit bfloat16; correct it in the source"),
        (70000.0, "fp16", "value 70000 at [1, 2] does not fit float16; import with --dtype bf16 or fp32"),
    ],
)
def test_a_value_that_overflows_is_named_and_the_corrected_file_is_imported(
    value: float, dtype: str, message: str, tmp_path: Path
) -> None:
    def source(third: float) -> Path:
        side = {"id": ["a", "b"], "raw_text": ["x", "y"], "audio": np.ones((2, 3, 4)), "audio_lengths": [3, 3]}
        side["audio"][1, 1, 2] = third  # type: ignore[call-overload,index]
        (tmp_path / "s.pkl").write_bytes(pickle.dumps({"train": side}, protocol=4))
        return tmp_path / "s.pkl"

    options = ("--corpus", "tiny", "--dtype", dtype)
    printed = check(run_import(tmp_path / "a.h5", "mmsa", source(value), *options), 2, f"b: {message}")
    assert len(printed) < 300
    assert [p.name for p in tmp_path.iterdir()] == ["s.pkl"]
    check(run_import(tmp_path / "a.h5", "mmsa", source(2.0), *options), 0, "2 utterances written")
    assert stored_frames(tmp_path / "a.h5")["b"][1, 2] == 2.0


def test_what_is_written_is_what_mmsas_loader_reads(tmp_path: Path) -> None:
    of = manifest()
    audio, text = store_samples.arrays(of), store_samples.arrays(of, dimension=3, seed=2)
    make_store(
        tmp_path / "a.h5",
        of,
        hubert=FeatureData(modality="audio", arrays=audio, frame_rate=50.0, dtype="float32"),
        bert=FeatureData(modality="text", arrays=text, dtype="float32"),
    )
    out = tmp_path / "a.pkl"
    check(run("export", tmp_path / "a.h5", "--to", "mmsa", "--feature", "hubert", "--feature", "bert", "--out", out), 0)
    data = pickle.loads(out.read_bytes())
    seen = []
    for mode in SIDES:  # the lines of MMDataset.__init_mosi
        values = data[mode]["audio"].astype(np.float32)
        text_frames = data[mode]["text"].astype(np.float32)
        labels = np.array(data[mode]["regression_labels"]).astype(np.float32)
        for i, id in enumerate(data[mode]["id"]):
            u = of.utterances[of.ids.index(id)]
            np.testing.assert_array_equal(values[i, : data[mode]["audio_lengths"][i]], audio[id])
            np.testing.assert_array_equal(text_frames[i, : data[mode]["text_lengths"][i]], text[id])
            assert not values[i, len(audio[id]) :].any()
            assert (data[mode]["raw_text"][i], labels[i]) == (u.text, u.extra["sentiment"])
            assert u.split == ("dev" if mode == "valid" else mode)
            seen.append(id)
    assert sorted(seen) == of.ids
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(run_import(tmp_path / "b.h5", "mmsa", out, "--manifest", manifest_path, modality="text", name="bert"), 0)
    assert_same_frames(stored_frames(tmp_path / "b.h5", "bert"), text)


def test_splits_of_a_corpus_without_an_official_split(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5", store_samples.manifest(12), hubert=FeatureData(
        modality="audio", arrays=store_samples.arrays(store_samples.manifest(12))))  # fmt: skip
    out = tmp_path / "a.pkl"
    check(run_export(tmp_path / "a.h5", "mmsa", out), 2, "no official split", "--valid session=4")
    check(run_export(tmp_path / "a.h5", "mmsa", out, "--test", "speaker=s0"), 2, "--valid and --test go together")
    both = ("--valid", "speaker=s0", "--test", "session=0")
    check(run_export(tmp_path / "a.h5", "mmsa", out, *both), 2, "share 2 utterances")
    check(run_export(tmp_path / "a.h5", "mmsa", out, "--valid", "spiker=1", "--test", "speaker=s1"), 2, "KEY=VALUE")
    check(
        run_export(tmp_path / "a.h5", "mmsa", out, "--valid", "speaker=s9", "--test", "speaker=s1"),
        2,
        "no speaker in --valid",
    )
    check(
        run_export(tmp_path / "a.h5", "mmsa", out, "--valid", "speaker=s0", "--test", "speaker=s1,s2"),
        2,
        "in split train",
    )
    check(run_export(tmp_path / "a.h5", "mmsa", out, "--valid", "speaker=s0", "--test", "speaker=s1"), 0)
    data = pickle.loads(out.read_bytes())
    assert data["valid"]["id"] == ["u000", "u003", "u006", "u009"]
    assert "regression_labels" not in data["train"]


@pytest.mark.parametrize("sentiment", ["neutral", float("nan")])
def test_a_sentiment_that_is_not_a_number_is_left_out(sentiment: str | float, tmp_path: Path) -> None:
    of = manifest()
    utterances = tuple(
        replace(u, extra={"sentiment": sentiment}) if u.id in ("u000", "u003") else u for u in of.utterances
    )
    of = replace(of, utterances=utterances)
    make_store(tmp_path / "a.h5", of, hubert=FeatureData(modality="audio", arrays=store_samples.arrays(of)))
    check(run_export(tmp_path / "a.h5", "mmsa", tmp_path / "a.pkl"), 0)
    data = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert {side: "regression_labels" in data[side] for side in SIDES} == {"train": False, "valid": True, "test": False}
    result = run_import(tmp_path / "b.h5", "mmsa", tmp_path / "a.pkl", "--corpus", "tiny")
    check(result, 0, "12 utterances written")


def test_a_malicious_file_is_exit_code_3_and_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"train": {"id": ["u000"], "audio": Evil()}}))
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    result = run_import(tmp_path / "a.h5", "mmsa", tmp_path / "evil.pkl", "--manifest", manifest_path)
    check(result, 3, "refused: it holds posix.system", "nothing in this file has run")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "a.h5").exists()


def test_files_of_another_shape(tmp_path: Path) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    for value, expected in (
        ([1, 2], "a dict with train, valid and test"),
        ({"x": {"y": 1}}, "no split with the key 'id'"),
        ({"train": {"id": [["v", 1]], "audio": np.zeros((1, 2, 3))}}, "'id' holds lists"),
        ({"train": {"id": ["u000"], "audio": np.zeros((1, 2))}}, "expected an array [n, T, D]"),
        ({"train": {"id": ["u000"], "vision": 1}}, "'audio' is NoneType"),
    ):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        check(run_import(tmp_path / "a.h5", "mmsa", tmp_path / "a.pkl", "--manifest", manifest_path), 2, expected)

"""Folders of .npy files, laid out as EmoBox and MERBench lay them out, and hostile ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

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
from emofuse.store.exchange.arrays import id_as_file_name

RNG = np.random.default_rng(3)


def of_ids(*ids: str, corpus: str = "tiny") -> Manifest:
    return Manifest(corpus=corpus, reader="test-1", utterances=tuple(Utterance(id=i, audio="a.wav") for i in ids))


def folder(path: Path, **arrays: NDArray[np.generic]) -> Path:
    for name, array in arrays.items():
        file = path / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    return path


def values(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("corpus", "id", "key"),
    [
        ("iemocap", "Ses01F_impro04_F000", "iemocap-Ses01F_impro04_F000"),
        ("meld", "train_dia0_utt3", "meld-dia0_utt3-train"),
        ("savee", "DC_a01", "savee-DC-a01"),
        ("cremad", "1001_DFA_ANG_XX", "cremad-1001-DFA-ANG-XX"),
        ("emobox-cafe", "cafe-12-P-2-5", "cafe-12-P-2-5"),
        ("ravdess", "03-01-06-01-02-01-12", "ravdess-03-01-06-01-02-01-12"),
    ],
)
def test_emobox_spells_ids_in_its_own_way(corpus: str, id: str, key: str, tmp_path: Path) -> None:
    dump = folder(tmp_path / "dump", **{key: values(9, 4)})
    manifest_path = manifest_file(tmp_path / "m.jsonl", of_ids(id, corpus=corpus))
    check(run_import(tmp_path / "a.h5", "emobox", dump, "--manifest", manifest_path), 0, "1 utterance matched")
    check(run_export(tmp_path / "a.h5", "emobox", tmp_path / "out", feature="there"), 0)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"emofuse.json", f"{key}.npy"}


def test_emobox_layers_come_first(tmp_path: Path) -> None:
    layers_first = values(13, 7, 4)  # as np.squeeze(torch.stack(hidden_states), 1) gives them
    dump = folder(tmp_path / "dump", **{"tiny-u": layers_first})
    manifest_path = manifest_file(tmp_path / "m.jsonl", of_ids("u"))
    check(run_import(tmp_path / "a.h5", "emobox", dump, "--manifest", manifest_path, "--dtype", "fp32"), 0, "13x4")
    np.testing.assert_array_equal(stored_frames(tmp_path / "a.h5")["u"], layers_first.transpose(1, 0, 2))
    check(run_export(tmp_path / "a.h5", "emobox", tmp_path / "out", feature="there"), 0)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "tiny-u.npy"), layers_first)


def test_merbench_vectors_and_a_leading_axis(tmp_path: Path) -> None:
    vectors = {id: values(5) for id in ("train_dia0_utt0", "val_dia0_utt0", "test_dia0_utt0")}
    manifest_path = manifest_file(
        tmp_path / "m.jsonl", of_ids("train_dia0_utt0", "dev_dia0_utt0", "test_dia0_utt0", corpus="meld")
    )
    check(
        run_import(
            tmp_path / "a.h5", "merbench", folder(tmp_path / "hubert-UTT", **vectors), "--manifest", manifest_path
        ),
        0,
        "3 utt",
    )
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").view == "mean"
    np.testing.assert_array_equal(stored_frames(tmp_path / "a.h5")["dev_dia0_utt0"], vectors["val_dia0_utt0"][None])
    check(run_export(tmp_path / "a.h5", "merbench", tmp_path / "out", feature="there"), 0)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "val_dia0_utt0.npy"), vectors["val_dia0_utt0"])
    frames = {id: values(1, 4, 5) for id in vectors}
    check(run_import(tmp_path / "a.h5", "merbench", folder(tmp_path / "hubert-FRA", **frames), name="fra"), 0)
    np.testing.assert_array_equal(stored_frames(tmp_path / "a.h5", "fra")["dev_dia0_utt0"], frames["val_dia0_utt0"][0])


def test_ids_that_no_file_name_can_hold_are_encoded(tmp_path: Path) -> None:
    ids = ("a/b", "../up", ".", "..", ".hidden", "50%", "a%2Fb", "ü ö", "c:d*?", "x" * 60)
    of = of_ids(*ids)
    frames = {id: values(3, 2) for id in ids}
    make_store(tmp_path / "a.h5", of, hubert=FeatureData(modality="audio", arrays=frames, dtype="float32"))
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "deep" / "out"), 0)
    names = sorted(p.name for p in (tmp_path / "deep" / "out").rglob("*") if p.is_file())
    assert names == sorted(["emofuse.json", *(f"{id_as_file_name(id)}.npy" for id in ids)])
    assert not any(n.startswith(".") for n in names)
    manifest_path = manifest_file(tmp_path / "m.jsonl", of)
    check(
        run_import(tmp_path / "b.h5", "npy", tmp_path / "deep" / "out", "--manifest", manifest_path),
        0,
        "10 utterances matched",
    )
    assert_same_frames(stored_frames(tmp_path / "b.h5"), frames)
    check(
        run_export(tmp_path / "a.h5", "merbench", tmp_path / "flat"), 2, "cannot be file names", "'../up'", "'.hidden'"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "deep", "m.jsonl"]


@pytest.mark.parametrize("form", ["npy", "lhotse"])
@pytest.mark.parametrize("id", ["ü" * 100, "x" * 300])
def test_a_name_too_long_for_a_file_is_refused(id: str, form: str, tmp_path: Path) -> None:
    data = FeatureData(modality="audio", arrays={id: values(2, 2)}, frame_rate=50.0)
    make_store(tmp_path / "a.h5", of_ids(id), hubert=data)
    check(
        run_export(tmp_path / "a.h5", form, tmp_path / "out"), 2, "file name that is too long", "parquet takes any id"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_everything_wrong_is_named_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    bad = values(4, 3)
    bad[1, 1] = np.nan
    src = folder(
        tmp_path / "src",
        u000=values(5, 3),
        u001=bad,
        u002=np.full((2, 3), np.inf, np.float32),
        u003=values(0, 3),
        u004=values(4, 8),
        u005=values(2, 2, 2, 2),
        u006=values(3, 2, 2),
        u007=np.array([["a", "b"]]),
        u008=np.vstack([values(3, 3), np.zeros((2, 3), np.float32)]),
        u009=np.vstack([np.zeros((4, 3), np.float32), values(3, 3)]),
        u010=values(3, 3).astype(complex),
    )
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(12))
    result = run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path)
    output = check(
        result, 2, "nothing was written", "u001: 1 of its 12 values are NaN", "u002: 6 of its 6", "u003: has no"
    )
    for line in (
        "u004",
        "u005: has shape",
        "u006",
        "u007",
        "of its 5 frames, 0 at the beginning and 2 at the end",
        "u009: of its 7 frames, 4 at the beginning",
    ):
        assert line in output, output
    assert "u010" in output
    assert "frames of shape (8,)" in output
    assert not (tmp_path / "a.h5").exists()


def test_only_what_the_manifest_knows_is_judged(tmp_path: Path) -> None:
    src = folder(tmp_path / "src", u000=values(5, 3), stranger=np.full((2, 9), np.nan))
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(1))
    check(
        run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path),
        1,
        "1 in the source only, unknown to the manifest: stranger",
    )


def test_zero_frames_are_kept_on_request(tmp_path: Path) -> None:
    padded = np.vstack([values(3, 3), np.zeros((2, 3), np.float32)])
    src = folder(tmp_path / "src", u000=padded)
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(1))
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 2, "is that padding?")
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path, "--keep-padding"), 0)
    assert_same_frames(stored_frames(tmp_path / "a.h5"), {"u000": padded})
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").fingerprint["padding"] == "kept"


def test_a_value_too_large_for_float16_is_found_before_writing(tmp_path: Path) -> None:
    src = folder(tmp_path / "src", u000=values(3, 3) * 1e6)
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(1))
    check(
        run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path, "--dtype", "fp16"),
        2,
        "does not fit float16",
    )
    assert not (tmp_path / "a.h5").exists()


def test_duplicates_are_refused_and_named(tmp_path: Path) -> None:
    src = folder(tmp_path / "src", **{"a/b": values(2, 2), "a%2Fb": values(2, 2), "c": values(2, 2)})
    manifest_path = manifest_file(tmp_path / "m.jsonl", of_ids("a/b", "c"))
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 2, "a/b (2 times)")
    src = folder(tmp_path / "two", **{"tiny-c": values(2, 2), "c": values(2, 2)})
    check(
        run_import(tmp_path / "a.h5", "emobox", src, "--manifest", manifest_path),
        2,
        "c is in the source under 2 spellings",
    )


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    folder(tmp_path / "src", u000=np.array([[Evil()]], object))
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(1))
    check(run_import(tmp_path / "a.h5", "npy", tmp_path / "src", "--manifest", manifest_path), 2, "never loaded")
    assert not (tmp_path / "ran").exists()


def test_a_tiny_file_that_claims_much_and_a_cut_one(tmp_path: Path) -> None:
    src = folder(tmp_path / "src", u000=values(5, 3), u002=values(50, 3))
    with (src / "u001.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 768)})
    (src / "u002.npy").write_bytes((src / "u002.npy").read_bytes()[:200])
    (src / "u003.npy").write_bytes(b"\x93NUMPY\x01\x00\x0a\x00garbage!!!")
    (src / "u004.npy").write_bytes(b"")
    (src / "u005.npy").write_bytes(b"not numpy at all, but long enough to look at")
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(6))
    output = check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 3, "u001: u001.npy has")
    for id in ("u002", "u003", "u004", "u005"):
        assert f"{id}: " in output, output


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    src = folder(tmp_path / "src", u000=values(5, 3))
    secret = folder(tmp_path / "elsewhere", secret=values(5, 3))
    (src / "u001.npy").symlink_to(secret / "secret.npy")
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(2))
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 2, "not followed: u001.npy")
    (src / "u001.npy").unlink()
    (src / "more").symlink_to(secret, target_is_directory=True)
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 2, "not followed: more")
    (src / "more").unlink()
    os.mkfifo(src / "u001.npy")
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 2, "u001.npy")


def test_fortran_order_big_endian_and_whole_numbers(tmp_path: Path) -> None:
    plain = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    src = folder(tmp_path / "src", u000=np.asfortranarray(plain), u001=plain.astype(">f4"), u002=plain.astype(np.int16))
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(3))
    check(run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 0, "float32")
    assert_same_frames(stored_frames(tmp_path / "a.h5"), dict.fromkeys(("u000", "u001", "u002"), plain))


def test_a_damaged_side_file_is_exit_code_3(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "out"), 0)
    side = tmp_path / "out" / "emofuse.json"
    whole = side.read_text()
    for broken, expected in (
        (whole[:50], "damaged"),
        ("[" * 100_000, "damaged"),
        (whole.replace('"corpus": "tiny"', '"who": "tiny"', 2), "fitted_on"),
    ):
        side.write_text(broken)
        check(run_import(tmp_path / "a.h5", "npy", tmp_path / "out", name="hubert2"), 3, expected)
    side.write_text(whole.replace('"emofuse": 1', '"emofuse": 9'))
    check(run_import(tmp_path / "a.h5", "npy", tmp_path / "out", name="hubert2"), 2, "update emofuse")


def test_text_features_and_missing_texts(tmp_path: Path) -> None:
    of = manifest(4)
    mute = replace(of, utterances=tuple(replace(u, text=None) if u.id == "u002" else u for u in of.utterances))
    src = folder(tmp_path / "src", **{f"u00{i}": f for i, f in enumerate([values(3, 2), values(2, 2)])})
    manifest_path = manifest_file(tmp_path / "m.jsonl", mute)
    check(
        run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path, modality="text"),
        1,
        "1 in the manifest only, missing in the source: u003",
    )
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").frame_rate is None
    check(
        run_import(tmp_path / "a.h5", "npy", src, "--frame-rate", "50", modality="text", name="x"),
        2,
        "no meaning for text",
    )


def test_shuffled_files_give_the_same_store(tmp_path: Path) -> None:
    frames = store_samples.arrays(manifest())
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    one, two = folder(tmp_path / "1" / "s", **frames), folder(tmp_path / "2" / "s", **dict(reversed(frames.items())))
    check(run_import(tmp_path / "a.h5", "npy", one, "--manifest", manifest_path), 0)
    check(run_import(tmp_path / "a.h5", "npy", two), 0, "nothing to do")


def test_untrusted_names_are_printed_without_control_characters(tmp_path: Path) -> None:
    src = folder(tmp_path / "src", **{"u000": values(3, 2), "\x1b[31mred": values(3, 2)})
    manifest_path = manifest_file(tmp_path / "m.jsonl", manifest(1))
    output = check(
        run_import(tmp_path / "a.h5", "npy", src, "--manifest", manifest_path), 1, "unknown to the manifest: "
    )
    (src / "\x1b[2Jgone.npy").symlink_to("/nowhere")
    output += check(run_import(tmp_path / "a.h5", "npy", src), 2, "not followed")
    assert "\x1b" not in output

"""emotion2vec's files, as its scripts write them and its loader reads them."""

from __future__ import annotations

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

from emofuse.store import FeatureStore


def written(folder: Path, frames: dict[str, NDArray[np.float32]], emo: bool = True, tsv: bool = True) -> Path:
    """What iemocap_manifest_and_labels.sh and emotion2vec_speech_features.py leave."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "train.npy", np.concatenate(list(frames.values())))
    with (folder / "train.lengths").open("w") as lengths:
        for f in frames.values():
            print(len(f), file=lengths)
    if emo:
        (folder / "train.emo").write_text("".join(f"{id}\thap\n" for id in frames))
    if tsv:
        rows = (f"Session1/sentences/wav/x/{id}.wav\t{len(f) * 320}\n" for id, f in frames.items())
        (folder / "train.tsv").write_text("/path/to/IEMOCAP_full_release\n" + "".join(rows))
    return folder


def load_dataset(prefix: str) -> tuple[list[NDArray[np.float32]], list[str]]:
    """The reading part of iemocap_downstream/data.py."""
    values, sizes, labels = np.load(prefix + ".npy"), [], []
    with Path(prefix + ".lengths").open() as lengths, Path(prefix + ".emo").open() as emo:
        for line in lengths:
            sizes.append(int(line.rstrip()))
            labels.append(next(emo).rstrip().split()[1])
    ends = np.cumsum(sizes)
    assert ends[-1] == len(values)
    return [values[e - n : e] for e, n in zip(ends, sizes, strict=True)], labels


@pytest.mark.parametrize(("emo", "tsv"), [(True, True), (True, False), (False, True)])
def test_ids_come_from_the_emo_or_the_tsv(emo: bool, tsv: bool, tmp_path: Path) -> None:
    frames = store_samples.arrays(manifest())
    shuffled = {id: frames[id] for id in sorted(frames, key=lambda id: id[::-1])}
    source = written(tmp_path / "e2v", shuffled, emo, tsv)
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(run_import(tmp_path / "a.h5", "emotion2vec", source, "--manifest", manifest_path), 0, "12 utterances written")
    assert_same_frames(stored_frames(tmp_path / "a.h5"), frames)
    for path in (source / "train", source / "train.npy"):
        check(run_import(tmp_path / "a.h5", "emotion2vec", path), 0)


def test_without_ids_nothing_is_taken_by_position(tmp_path: Path) -> None:
    source = written(tmp_path / "e2v", store_samples.arrays(manifest()), emo=False, tsv=False)
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    result = run_import(tmp_path / "a.h5", "emotion2vec", source, "--manifest", manifest_path)
    check(result, 2, "nothing says whose frames these are", "never taken by position")


def test_a_manifest_from_the_files(tmp_path: Path) -> None:
    source = written(tmp_path / "e2v", store_samples.arrays(manifest()))
    check(run_import(tmp_path / "a.h5", "emotion2vec", source, "--corpus", "iemocap", "--frame-rate", "50"), 0)
    with FeatureStore(tmp_path / "a.h5") as store:
        first = store.manifest.utterances[0]
        assert (first.id, first.label, first.audio) == ("u000", "hap", "Session1/sentences/wav/x/u000.wav")
    source = written(tmp_path / "bare", store_samples.arrays(manifest()), tsv=False)
    check(run_import(tmp_path / "b.h5", "emotion2vec", source, "--corpus", "iemocap"), 0)


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    frames = store_samples.arrays(manifest())

    def refused(code: int, *expected: str) -> None:
        check(
            run_import(tmp_path / "a.h5", "emotion2vec", tmp_path / "e2v", "--manifest", manifest_path), code, *expected
        )
        assert not (tmp_path / "a.h5").exists()

    source = written(tmp_path / "e2v", frames)
    whole = (source / "train.emo").read_text()
    (source / "train.emo").write_text(whole.split("\n", 1)[1])
    refused(3, "train.lengths has 12 utterances, .emo has 11")
    (source / "train.emo").write_text(whole.replace("u003", "u004", 1))
    refused(2, "line 4: u004 and u003")
    (source / "train.tsv").unlink()
    refused(2, "ids occur twice", "u004 (2 times)")
    (source / "train.emo").write_text(whole)
    (source / "train.lengths").write_text("5\n" * 12)
    refused(3, "add up to 60 frames")
    (source / "train.lengths").write_text("five\n" * 12)
    refused(3, "whole number")
    frames["u002"] = frames["u002"][:0]  # the script writes a line, but appends nothing
    written(tmp_path / "e2v", frames)
    refused(2, "u002: has no frames")
    (source / "train.lengths").unlink()
    refused(2, "no pair of PREFIX.npy and PREFIX.lengths")


def test_their_own_loader_reads_an_export(tmp_path: Path) -> None:
    frames = make_store(tmp_path / "a.h5")
    check(run_export(tmp_path / "a.h5", "emotion2vec", tmp_path / "out"), 0)
    found, labels = load_dataset(str(tmp_path / "out" / "train"))
    for f, wanted in zip(found, frames.values(), strict=True):
        np.testing.assert_array_equal(f, wanted)
    assert labels == [u.label for u in manifest().utterances]


def test_several_splits_in_one_folder_are_one_feature(tmp_path: Path) -> None:
    frames = store_samples.arrays(manifest())
    source = written(tmp_path / "e2v", {i: f for i, f in frames.items() if i < "u006"})
    other = written(tmp_path / "more", {i: f for i, f in frames.items() if i >= "u006"})
    for file in other.iterdir():
        file.rename(source / file.name.replace("train", "test"))
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(run_import(tmp_path / "a.h5", "emotion2vec", source, "--manifest", manifest_path), 0)
    assert_same_frames(stored_frames(tmp_path / "a.h5"), frames)

"""MELD: the real annotation, and the folder layouts of its clips."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.meld import SPLITS
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Manifest

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
ROW = '1,"Oh, {say}",Joey,joy,positive,{dia},{utt},4,7,"00:20:57,256","00:21:00,049"\n'
CLIPS = {
    "train": ["dia0_utt0", "dia0_utt1"],
    "dev": ["dia0_utt0", "dia110_utt7"],
    "test": ["dia0_utt0", "dia0_utt1"],
}


def annotate(root: Path, nested: bool) -> None:
    for split, clips in CLIPS.items():
        folder = root / split if nested else root
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [(c[3:].split("_utt")) for c in clips]
        rows = [ROW.format(say=split, dia=dia, utt=utt) for dia, utt in numbers]
        (folder / f"{split}_sent_emo.csv").write_text(HEADER + "".join(rows))


def film(root: Path, nested: bool, kind: str = ".mp4", *more: str) -> None:
    for split, clips in CLIPS.items():
        folder = (root / split if nested else root) / SPLITS[split]
        folder.mkdir(parents=True)
        for clip in clips:
            if (split, clip) != ("dev", "dia110_utt7"):
                (folder / (clip + kind)).touch()
                (folder / f"._{clip}{kind}").touch()
    for name in more:
        (folder / name).touch()


@pytest.mark.parametrize("outer", ["", "MELD.Raw"])
@pytest.mark.parametrize("nested_csv", [True, False])
@pytest.mark.parametrize("nested_clips", [True, False])
def test_split_folders_at_either_depth(outer: str, nested_csv: bool, nested_clips: bool, tmp_path: Path) -> None:
    annotate(tmp_path / outer, nested_csv)
    film(tmp_path / outer, nested_clips)
    manifest, _ = read_corpus("meld", tmp_path)
    assert manifest.ids == [f"{split}_{clip}" for split in SPLITS for clip in CLIPS[split]]
    assert sum((tmp_path / u.audio).is_file() for u in manifest.utterances if u.audio) == 5


def test_fields_of_an_utterance(tmp_path: Path) -> None:
    annotate(tmp_path, nested=True)
    film(tmp_path, nested=True)
    u = read_corpus("meld", tmp_path)[0].utterances[1]
    assert (u.id, u.dialogue, u.turn, u.split) == ("train_dia0_utt1", "train_dia0", 1, "train")
    assert (u.text, u.label, u.speaker) == ("Oh, train", "joy", "Joey")
    assert u.audio == "train/train_splits/dia0_utt1.mp4"
    assert dict(u.extra) == {
        "sentiment": "positive",
        "season": "4",
        "episode": "7",
        "start_time": "00:20:57,256",
        "end_time": "00:21:00,049",
    }


def test_the_clip_missing_in_the_release_is_excluded_with_its_reason_and_keeps_its_text(tmp_path: Path) -> None:
    annotate(tmp_path, nested=False)
    film(tmp_path, nested=False)
    manifest, _ = read_corpus("meld", tmp_path)
    (gone,) = manifest.excluded
    assert (gone.id, gone.modality) == ("dev_dia110_utt7", "audio")
    assert gone.reason == "the release has no clip of this utterance"
    assert next(u for u in manifest.utterances if u.id == gone.id).text == "Oh, dev"


def test_another_missing_clip_names_the_file(tmp_path: Path) -> None:
    annotate(tmp_path, nested=False)
    film(tmp_path, nested=False)
    (tmp_path / "train_splits/dia0_utt1.mp4").unlink()
    manifest, _ = read_corpus("meld", tmp_path)
    assert manifest.excluded[0].id == "train_dia0_utt1"
    assert manifest.excluded[0].reason == "no audio file train_splits/dia0_utt1.mp4"


def test_extracted_wav_files_are_used_where_there_is_no_mp4(tmp_path: Path) -> None:
    annotate(tmp_path, nested=True)
    film(tmp_path, nested=True, kind=".wav")
    (tmp_path / "train/train_splits/dia0_utt0.mp4").touch()
    manifest, _ = read_corpus("meld", tmp_path)
    kinds = [u.audio.rsplit(".")[-1] for u in manifest.utterances if u.audio]
    assert kinds == ["mp4", "wav", "wav", "wav", "wav"]


@pytest.mark.parametrize("clips", [None, "plain", "recut"])
def test_recut_clips_are_used_on_request_and_only_in_test(clips: str | None, tmp_path: Path) -> None:
    annotate(tmp_path, nested=True)
    film(tmp_path, True, ".mp4", "final_videos_testdia0_utt1.mp4")
    manifest, _ = read_corpus("meld", tmp_path, ReaderOptions(meld_clips=clips))
    taken = [Path(u.audio).name for u in manifest.utterances if u.audio]
    assert taken[:4] == ["dia0_utt0.mp4", "dia0_utt1.mp4", "dia0_utt0.mp4", "dia0_utt0.mp4"]
    assert taken[4] == ("final_videos_testdia0_utt1.mp4" if clips == "recut" else "dia0_utt1.mp4")
    assert manifest.reader == ("meld-1-recut" if clips == "recut" else "meld-1")


def test_recut_is_another_manifest(tmp_path: Path) -> None:
    annotate(tmp_path, nested=True)
    film(tmp_path, True, ".mp4", "final_videos_testdia0_utt1.mp4")
    plain, _ = read_corpus("meld", tmp_path)
    recut, _ = read_corpus("meld", tmp_path, ReaderOptions(meld_clips="recut"))
    assert plain.digest() != recut.digest()
    assert plain.ids == recut.ids


def test_wrong_choices_of_clips(tmp_path: Path) -> None:
    annotate(tmp_path, nested=True)
    with pytest.raises(UsageError, match=r"--meld-clips is 'both'; valid: plain, recut"):
        read_corpus("meld", tmp_path, ReaderOptions(meld_clips="both"))
    with pytest.raises(UsageError, match=r"--meld-clips recut has no effect"):
        read_corpus("meld", tmp_path, ReaderOptions(meld_clips="recut"))


def test_missing_tables_are_all_named(tmp_path: Path) -> None:
    annotate(tmp_path, nested=False)
    for split in ("dev", "test"):
        (tmp_path / f"{split}_sent_emo.csv").unlink()
    with pytest.raises(
        UsageError, match=r"no dev_sent_emo.csv, test_sent_emo.csv of MELD, .*; unpack the whole release"
    ):
        read_corpus("meld", tmp_path)


def test_damaged_numbers_are_named_with_their_row(tmp_path: Path) -> None:
    annotate(tmp_path, nested=False)
    with (tmp_path / "dev_sent_emo.csv").open("a") as file:
        file.write(ROW.format(say="x", dia="", utt="7"))
    with pytest.raises(UsageError, match=r"dev_sent_emo.csv, row 4: Dialogue_ID and Utterance_ID must be numbers"):
        read_corpus("meld", tmp_path)


@pytest.fixture(scope="module")
def text_only(shared: Path) -> Manifest:
    return read_corpus("meld", shared / "data/meld")[0]


def test_the_real_annotation_alone_is_a_text_only_corpus(text_only: Manifest) -> None:
    assert len(text_only) == 13708
    assert text_only.counts("split") == {"dev": 1109, "test": 2610, "train": 9989}
    assert not text_only.has("audio")
    assert text_only.excluded == ()
    assert all(u.text for u in text_only.utterances)
    assert {"train_dia125_utt3", "dev_dia110_utt7"} <= set(text_only.ids)


@pytest.mark.parametrize("name", ["meld7", "meld3"])
def test_the_real_annotation_matches_the_expected_counts(name: str, text_only: Manifest) -> None:
    task = protocol_files.load(name)
    assert all(task.class_of(u) for u in text_only.utterances)
    assert task.differences(list(text_only.utterances)) == []


@pytest.mark.parametrize("name", ["meld7", "meld3"])
def test_only_the_known_gaps_may_lack_audio(name: str, text_only: Manifest) -> None:
    task = protocol_files.load(name)
    gaps = {"train_dia125_utt3", "dev_dia110_utt7"}
    rows = list(text_only.utterances)
    assert task.differences(rows, set(text_only.ids) - gaps) == []
    lines = task.differences(rows, set(text_only.ids) - gaps - {"test_dia0_utt0"})
    assert "utterances in all: found 13707, expected 13708" in lines
    assert "split test: found 2609, expected 2610" in lines


@pytest.mark.slow
def test_full_release_laid_out_from_real_ids(shared: Path, tmp_path: Path) -> None:
    # in EmoBox's listing the folder of train lies one deeper than the other two
    for line in (shared / "data/meld/utterances.csv").read_text().splitlines()[1:]:
        clip = tmp_path / line.split(",")[1]
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.touch()
    for split in SPLITS:
        shutil.copy(shared / f"data/meld/{split}_sent_emo.csv", tmp_path)
    (tmp_path / "train/train_splits/dia125_utt3.mp4").touch()  # there, but it cannot be decoded
    manifest, _ = read_corpus("meld", tmp_path)
    assert [e.id for e in manifest.excluded] == ["dev_dia110_utt7"]
    assert sum(u.audio is not None for u in manifest.utterances) == 13707

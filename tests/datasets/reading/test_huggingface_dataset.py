"""Datasets that Hugging Face's package saved to disk: columns, classes, splits, and audio that is embedded or named."""

from __future__ import annotations

import io
import json
import shutil
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.reading.huggingface_dataset import CLIPS
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.schema import Utterance

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def wav(samples: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as opened:
        opened.setparams((1, 2, 16000, 0, "NONE", ""))
        opened.writeframes(bytes(2 * samples))
    return file.getvalue()


def dataset(samples: list[int], **columns: list[Any]) -> Any:
    """With one embedded clip per length, without a decoder of audio."""
    clips = [{"bytes": wav(n), "path": f"c{n}.wav"} for n in samples]
    made = datasets.Dataset.from_dict({"audio": clips, **columns})
    return made.cast_column("audio", datasets.Audio())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Two splits with classes and speakers, as most corpora on the hub."""
    columns = {"emotion": [1, 0], "speaker_id": [7, 8], "transcription": ["well", "no"], "arousal": [0.5, None]}
    classes = datasets.ClassLabel(names=["anger", "joy"])
    splits = {
        "train": dataset([100, 200], **columns).cast_column("emotion", classes),
        "validation": dataset([300], **{k: v[:1] for k, v in columns.items()}).cast_column("emotion", classes),
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_classes_splits_speakers_and_embedded_audio(saved: Path) -> None:
    manifest, root = read_corpus("custom", None, ReaderOptions(manifest=saved))
    assert root == saved
    first = manifest.utterances[0]
    assert first == Utterance(
        id="train_000000",
        audio=first.audio,
        text="well",
        label="joy",
        speaker="7",
        split="train",
        extra={"arousal": 0.5},
    )
    assert [(u.id, u.label, u.split) for u in manifest.utterances[1:]] == [
        ("train_000001", "anger", "train"),
        ("validation_000000", "joy", "dev"),
    ]
    assert [(root / str(u.audio)).read_bytes() for u in manifest.utterances] == [wav(n) for n in (100, 200, 300)]
    assert manifest.notes[-1] == f"3 embedded clips in {root / CLIPS}, 3 of them written now"


def test_a_second_reading_writes_nothing_and_a_truncated_clip_is_written_again(saved: Path) -> None:
    first, root = read_corpus("custom", saved)
    files = {p: p.stat().st_mtime_ns for p in (root / CLIPS).iterdir()}
    second, _ = read_corpus("custom", saved)
    assert second == first
    assert second.notes[-1].endswith("0 of them written now")
    assert {p: p.stat().st_mtime_ns for p in (root / CLIPS).iterdir()} == files
    broken = root / str(first.utterances[0].audio)
    broken.write_bytes(b"RIFF")
    read_corpus("custom", saved)
    assert broken.read_bytes() == wav(100)


def test_clips_of_a_dataset_that_cannot_be_written_go_to_the_root(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    manifest, root = read_corpus("custom", tmp_path / "mine", ReaderOptions(manifest=saved))
    assert root == tmp_path / "mine"
    assert len(list((root / CLIPS).iterdir())) == len(manifest) == 3
    assert not (saved / CLIPS).exists()


def test_an_own_id_and_other_columns(tmp_path: Path) -> None:
    made = dataset([100, 200], id=["a", "b"], mood=["x", "y"], label=[0, 1], labels=[["x"], ["y"]])
    made.save_to_disk(str(tmp_path / "hub"))
    manifest, _ = read_corpus("custom", tmp_path / "hub", ReaderOptions(columns="label=mood"))
    assert [(u.id, u.label, u.split, dict(u.extra)) for u in manifest.utterances] == [
        ("a", "x", None, {}),
        ("b", "y", None, {}),
    ]


def test_hidden_labels_are_missing(tmp_path: Path) -> None:
    made = dataset([100, 200], kind=[-1, 0]).cast_column("kind", datasets.ClassLabel(names=["anger", "joy"]))
    made.save_to_disk(str(tmp_path / "hub"))
    assert [u.label for u in read_corpus("custom", tmp_path / "hub")[0].utterances] == [None, "anger"]


def test_audio_by_path_below_the_root_and_outside_of_it(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    for name in "ab":
        (tmp_path / f"wav/{name}.wav").write_bytes(wav(10))
    paths = [str(tmp_path / "wav/a.wav"), "wav/b.wav"]
    datasets.Dataset.from_dict({"audio": paths}).save_to_disk(str(tmp_path / "hub"))
    options = ReaderOptions(manifest=tmp_path / "hub")
    assert [u.audio for u in read_corpus("custom", tmp_path, options)[0].utterances] == ["wav/a.wav", "wav/b.wav"]
    with pytest.raises(UsageError, match=r"row 1: .*audio path '/.*/wav/a\.wav' leaves the corpus root"):
        read_corpus("custom", None, options)


def test_several_columns_of_audio(tmp_path: Path) -> None:
    made = dataset([100]).add_column("clean", [{"bytes": wav(50), "path": None}])
    made.cast_column("clean", datasets.Audio()).save_to_disk(str(tmp_path / "hub"))
    with pytest.raises(UsageError, match=r"several columns of audio: pass --columns audio=COLUMN; audio, clean"):
        read_corpus("custom", tmp_path / "hub")
    (utterance,) = read_corpus("custom", tmp_path / "hub", ReaderOptions(columns="audio=clean"))[0].utterances
    assert (tmp_path / "hub" / str(utterance.audio)).read_bytes() == wav(50)
    assert str(utterance.audio).endswith(".wav")  # by its content: the dataset has no name for it


def test_a_column_of_samples_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"audio": [[0.1, 0.2]], "text": ["x"]}).save_to_disk(str(tmp_path / "hub"))
    with pytest.raises(UsageError, match=r"the column audio is no audio: .* dataset\.cast_column\('audio'"):
        read_corpus("custom", tmp_path / "hub")


@pytest.mark.parametrize("damage", ["cut", "missing", "no split"])
def test_a_damaged_dataset(damage: str, saved: Path) -> None:
    state = json.loads((saved / "train/state.json").read_text())
    data = saved / "train" / state["_data_files"][0]["filename"]
    if damage == "cut":
        data.write_bytes(b"ARROW")
    elif damage == "missing":
        data.unlink()
    else:
        shutil.rmtree(saved / "train")
    with pytest.raises(DataError, match=r"the dataset .*hub is damaged"):
        read_corpus("custom", saved)


def test_clips_that_another_process_wrote_meanwhile_are_not_written_again(saved: Path) -> None:
    first, _ = read_corpus("custom", saved)
    contents = {p: p.read_bytes() for p in (saved / CLIPS).iterdir()}
    shutil.rmtree(saved / CLIPS)
    with ThreadPoolExecutor() as pool:
        with lock(saved / CLIPS / ".lock", "held"):
            reading = pool.submit(read_corpus, "custom", saved)
            time.sleep(0.3)
            assert not reading.done()
            for path, content in contents.items():
                path.write_bytes(content)
        second, _ = reading.result()
    assert second == first
    assert second.notes[-1].endswith("0 of them written now")
    assert set((saved / CLIPS).iterdir()) == set(contents)


def test_a_folder_of_neither_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, but neither an audformat database nor a saved dataset"):
        read_corpus("custom", None, ReaderOptions(manifest=tmp_path))


def test_a_split_without_rows_is_left_out(saved: Path, tmp_path: Path) -> None:
    loaded = datasets.load_from_disk(str(saved))
    loaded["validation"] = loaded["validation"].select([])
    loaded.save_to_disk(str(tmp_path / "partly"))
    manifest, _ = read_corpus("custom", tmp_path / "partly")
    assert manifest.counts("split") == {"train": 2}
    loaded["validation"].save_to_disk(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="empty has no rows"):
        read_corpus("custom", tmp_path / "empty")


def test_a_column_of_bytes_is_audio_where_it_is_named(tmp_path: Path) -> None:
    tagless = b"\xff\xfb\x90\x00" + bytes(100)
    made = datasets.Dataset.from_dict({"wave": [wav(10), tagless], "label": ["x", "y"]})
    made.save_to_disk(str(tmp_path / "hub"))
    with pytest.raises(UsageError, match=r"has no column of audio or text: name one, .*; it has: wave, label"):
        read_corpus("custom", tmp_path / "hub")
    first, second = read_corpus("custom", tmp_path / "hub", ReaderOptions(columns="audio=wave"))[0].utterances
    assert (tmp_path / "hub" / str(first.audio)).read_bytes() == wav(10)
    assert str(second.audio).endswith(".mp3")

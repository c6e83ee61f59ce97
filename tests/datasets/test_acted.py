"""SAVEE, RAVDESS and Emo-DB: acted clips whose file names are the annotation."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from corpus_files import lay_out

from emofuse.common.errors import UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Manifest


def real_names(shared: Path, corpus: str) -> list[str]:
    with (shared / f"data/{corpus}/utterances.csv").open(newline="") as file:
        return [row["audio"] for row in csv.DictReader(file)]


def differences(manifest: Manifest, name: str) -> list[str]:
    task = protocol_files.load(name)
    return task.differences([u for u in manifest.utterances if task.class_of(u) is not None])


# SAVEE


@pytest.mark.parametrize("layout", ["{0}_{1}.wav", "ALL/{0}_{1}.wav", "{0}/{1}.wav", "AudioData/{0}/{1}.wav"])
def test_savee_at_full_size_flat_or_in_speaker_folders(layout: str, shared: Path, tmp_path: Path) -> None:
    names = [Path(n).stem.split("_") for n in real_names(shared, "savee")]
    lay_out(tmp_path, *(layout.format(*n) for n in names), "AudioData/Info.txt")
    manifest, _ = read_corpus("savee", tmp_path)
    assert len(manifest) == 480
    assert manifest.ids == sorted(manifest.ids)
    assert manifest.counts("speaker") == {"DC": 120, "JE": 120, "JK": 120, "KL": 120}
    assert differences(manifest, "savee7") == []
    assert differences(manifest, "savee4") == []
    assert all((tmp_path / str(u.audio)).is_file() for u in manifest.utterances)
    assert not manifest.has("text")
    assert manifest.excluded == ()


def test_savee_fields_of_an_utterance(tmp_path: Path) -> None:
    lay_out(tmp_path, "AudioData/KL/sa07.wav")
    u = read_corpus("savee", tmp_path)[0].utterances[0]
    assert (u.id, u.label, u.speaker, u.session) == ("KL_sa07", "sa", "KL", "KL")
    assert (u.audio, dict(u.extra)) == ("AudioData/KL/sa07.wav", {"sentence": 7})


@pytest.mark.parametrize("separator", ["_", "-"])
def test_savee_transcripts_come_from_a_csv(separator: str, tmp_path: Path) -> None:
    lay_out(tmp_path, "DC/a01.wav", "DC/a02.wav")
    table = tmp_path / "transcripts.csv"
    table.write_text(f'id,text\nDC{separator}a01,"She had your dark suit, all year."\nJE{separator}a01,Not here.\n')
    manifest, _ = read_corpus("savee", tmp_path, ReaderOptions(transcripts=table))
    assert [u.text for u in manifest.utterances] == ["She had your dark suit, all year.", None]


def test_savee_transcripts_without_a_clip_and_clips_without_a_text_are_said(tmp_path: Path) -> None:
    lay_out(tmp_path, "DC/a01.wav", "DC/a02.wav", "KL/sa01.wav")
    table = tmp_path / "t.csv"
    table.write_text("id,text\nJE_h01,not there\ndc_a01,small letters\nKL_sa01.wav,with suffix\n")
    manifest, _ = read_corpus("savee", tmp_path, ReaderOptions(transcripts=table))
    assert [u.text for u in manifest.utterances] == ["small letters", None, "with suffix"]
    assert manifest.notes == (
        f"--transcripts {table}: 1 text without a clip: JE_h01",
        f"--transcripts {table}: 1 clip without a text: DC_a02",
    )


def test_savee_transcripts_that_give_a_clip_several_texts_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "DC/a01.wav")
    table = tmp_path / "t.csv"
    table.write_text("id,text\nDC_a01,one\nDC-a01,two\n")
    with pytest.raises(UsageError, match="gives a clip several texts: row 3: id 'DC-a01' is already used by row 2"):
        read_corpus("savee", tmp_path, ReaderOptions(transcripts=table))


def test_savee_wrong_transcript_files_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "DC/a01.wav")
    table = tmp_path / "t.csv"
    table.write_text("id,text\nutt-1,hello\n")
    with pytest.raises(UsageError, match="ids look like DC_a01, the file has 'utt-1'"):
        read_corpus("savee", tmp_path, ReaderOptions(transcripts=table))
    table.write_text("clip,words\nDC_a01,hello\n")
    with pytest.raises(UsageError, match="has no column id, text; it has: clip, words"):
        read_corpus("savee", tmp_path, ReaderOptions(transcripts=table))
    with pytest.raises(UsageError, match="no file"):
        read_corpus("savee", tmp_path, ReaderOptions(transcripts=tmp_path / "absent.csv"))


@pytest.mark.parametrize(
    ("corpus", "clip", "copy"),
    [
        ("savee", "DC_a01.wav", "AudioData/DC/a01.wav"),
        ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "again/Actor_01/03-01-01-01-01-01-01.wav"),
        ("emodb", "03a01Fa.wav", "wav/03a01Fa.wav"),
    ],
)
def test_a_second_copy_and_an_unknown_file_are_listed(corpus: str, clip: str, copy: str, tmp_path: Path) -> None:
    lay_out(tmp_path, clip, copy, "noise.wav", "._" + Path(clip).name)
    manifest, _ = read_corpus(corpus, tmp_path)
    assert [u.audio for u in manifest.utterances] == [clip]
    listed = {e.id: e.reason for e in manifest.excluded}
    assert listed.keys() == {copy, "noise.wav"}
    assert listed[copy] == "a second file of a clip"
    assert "not named as a clip of" in listed["noise.wav"]


# RAVDESS


@pytest.mark.parametrize("outer", ["", "Audio_Speech_Actors_01-24/", "ravdess/audio/Audio_Speech_Actors_01-24/"])
def test_ravdess_at_full_size_with_or_without_outer_folders(outer: str, shared: Path, tmp_path: Path) -> None:
    lay_out(tmp_path, *(outer + "/".join(Path(n).parts[-2:]) for n in real_names(shared, "ravdess")))
    manifest, _ = read_corpus("ravdess", tmp_path)
    assert len(manifest) == 1440
    assert differences(manifest, "ravdess8") == []
    assert set(manifest.counts("speaker").values()) == {60}
    speakers = [str(u.speaker) for u in manifest.utterances]
    assert speakers == sorted(speakers)


def test_ravdess_labels_agree_with_the_real_annotation(shared: Path, tmp_path: Path) -> None:
    with (shared / "data/ravdess/utterances.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lay_out(tmp_path, *(r["audio"] for r in rows))
    found = {u.id: u.label for u in read_corpus("ravdess", tmp_path)[0].utterances}
    assert found == {r["id"]: r["label"].lower() for r in rows}


def test_ravdess_fields_of_an_utterance(tmp_path: Path) -> None:
    lay_out(tmp_path, "Actor_12/03-01-06-02-02-01-12.wav")
    u = read_corpus("ravdess", tmp_path)[0].utterances[0]
    assert (u.label, u.speaker, u.text) == ("fearful", "Actor_12", "Dogs are sitting by the door.")
    assert dict(u.extra) == {"intensity": "strong", "statement": 2, "repetition": 1, "sex": "female"}


def test_ravdess_songs_are_excluded(tmp_path: Path) -> None:
    lay_out(tmp_path, "Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/03-02-04-01-01-01-01.wav")
    manifest, _ = read_corpus("ravdess", tmp_path)
    assert manifest.ids == ["03-01-01-01-01-01-01"]
    assert [(e.id, e.reason) for e in manifest.excluded] == [("03-02-04-01-01-01-01", "sung, not spoken")]


# Emo-DB


def test_emodb_real_clips(shared: Path) -> None:
    manifest, root = read_corpus("emodb", shared / "data/emodb")
    assert len(manifest) == 167
    assert manifest.counts("label") == {"F": 34, "N": 43, "T": 30, "W": 60}
    assert list(manifest.counts("speaker")) == ["03", "08", "09", "10", "11"]
    assert len({u.text for u in manifest.utterances}) == 10
    assert all((root / str(u.audio)).is_file() for u in manifest.utterances)
    # half of the corpus: the protocol says so, in every class
    lines = differences(manifest, "emodb4")
    assert lines[0] == "utterances in all: found 167, expected 339"
    assert len(lines) == 5


def test_emodb_from_inside_its_wav_folder(shared: Path) -> None:
    outside, _ = read_corpus("emodb", shared / "data/emodb")
    inside, _ = read_corpus("emodb", shared / "data/emodb/wav")
    assert inside.ids == outside.ids


@pytest.mark.parametrize("letter", "WLEAFTN")
def test_emodb_knows_all_seven_emotions_and_the_protocol_four(letter: str, tmp_path: Path) -> None:
    lay_out(tmp_path, f"wav/16b10{letter}b.wav")
    u = read_corpus("emodb", tmp_path)[0].utterances[0]
    assert (u.label, u.speaker, u.extra["sentence"], u.extra["version"]) == (letter, "16", "b10", "b")
    assert u.text == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."
    expected = {"W": "anger", "F": "happiness", "N": "neutral", "T": "sadness"}.get(letter)
    assert protocol_files.load("emodb4").class_of(u) == expected

"""IEMOCAP at full size with its real ids and labels, and the special cases of its annotation."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Manifest, Utterance

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[14.8872 - 18.0175]\tSes02F_impro07_M000\texc\t[4.0000, 3.5000, 2.0000]
C-E2:\tExcited;\t()
A-E3:\tval 4; act 3; dom  2;\t()

[6.2901 - 8.2357]\tSes02F_impro07_F000\tneu\t[2.5000, 2.6667, 1.5000]
C-E2:\tNeutral;\t()

[19.2900 - 20.7875]\tSes02F_impro07_F001\txxx\t[2.5000, 2.5000, 2.5000]
C-E1:\tNeutral; Anger;\t()
C-E2:\tAnger;\t(loud)
C-E4:\tOther;\t(amused)
C-F2:\tSadness;\t()
"""
TRANSCRIPTS = (
    b"Ses02F_impro07_F000 [006.2901-008.2357]: Excuse me.\n"
    b"Ses02F_impro07_MXX0 [008.2357-009.0000]: [LAUGHTER]\n"
    b"M: [BREATHING]\n"
    b"Ses02F_impro07_M000 [014.8872-018.0175]: I\x92m getting married: really.\n"
    b"Ses02F_impro07_F001 [019.2900-020.7875]: No.\n"
    b"Ses02F_impro07_F009 [030.0000-031.0000]: Nobody labelled this.\n"
)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    session = tmp_path / "Session2"
    for folder, name, data in (
        ("dialog/EmoEvaluation", "Ses02F_impro07.txt", EVALUATION.encode()),
        ("dialog/EmoEvaluation", "._Ses02F_impro07.txt", b"\x00\x05\x16\x07" + EVALUATION.encode()),
        ("dialog/EmoEvaluation/Categorical", "Ses02F_impro07_e2_cat.txt", b"Ses02F_impro07_F000 :Neutral; ()\n"),
        ("dialog/transcriptions", "Ses02F_impro07.txt", TRANSCRIPTS),
        ("dialog/transcriptions", "._Ses02F_impro07.txt", b"\x00\x05\x16\x07\xff"),
        ("sentences/wav/Ses02F_impro07", "Ses02F_impro07_F000.wav", b""),
        ("sentences/wav/Ses02F_impro07", "._Ses02F_impro07_F000.wav", b""),
        ("sentences/wav/Ses02F_impro07", "Ses02F_impro07_M000.wav", b""),
        ("sentences/wav/Ses02F_impro07", "Ses02F_impro07_F001.wav", b""),
    ):
        (session / folder).mkdir(parents=True, exist_ok=True)
        (session / folder / name).write_bytes(data)
    return tmp_path


def test_fields_of_an_utterance(small: Path) -> None:
    manifest, root = read_corpus("iemocap", small)
    assert root == small
    assert manifest.corpus == "iemocap"
    assert manifest.utterances == (
        Utterance(
            id="Ses02F_impro07_F000",
            audio="Session2/sentences/wav/Ses02F_impro07/Ses02F_impro07_F000.wav",
            text="Excuse me.",
            label="neu",
            speaker="Ses02F",
            session="2",
            dialogue="Ses02F_impro07",
            turn=0,
            extra={
                "valence": 2.5,
                "arousal": 2.6667,
                "dominance": 1.5,
                "scenario": "improvised",
                "dialogue_begin": 6.2901,
                "dialogue_end": 8.2357,
                "votes": "neu:1",
            },
        ),
        Utterance(
            id="Ses02F_impro07_M000",
            audio="Session2/sentences/wav/Ses02F_impro07/Ses02F_impro07_M000.wav",
            text="I’m getting married: really.",
            label="exc",
            speaker="Ses02M",
            session="2",
            dialogue="Ses02F_impro07",
            turn=1,
            extra={
                "valence": 4.0,
                "arousal": 3.5,
                "dominance": 2.0,
                "scenario": "improvised",
                "dialogue_begin": 14.8872,
                "dialogue_end": 18.0175,
                "votes": "exc:1",
            },
        ),
        Utterance(
            id="Ses02F_impro07_F001",
            audio="Session2/sentences/wav/Ses02F_impro07/Ses02F_impro07_F001.wav",
            text="No.",
            label="xxx",
            speaker="Ses02F",
            session="2",
            dialogue="Ses02F_impro07",
            turn=2,
            extra={
                "valence": 2.5,
                "arousal": 2.5,
                "dominance": 2.5,
                "scenario": "improvised",
                "dialogue_begin": 19.29,
                "dialogue_end": 20.7875,
                "votes": "ang:2 neu:1 oth:1",
            },
        ),
    )


def test_unlabelled_turns_are_listed_and_other_lines_are_not(small: Path) -> None:
    manifest, _ = read_corpus("iemocap", small)
    assert {e.id: e.reason for e in manifest.excluded} == {
        "Ses02F_impro07_F009": "no label: not in EmoEvaluation",
    }


def test_the_outer_folder_of_the_archive_is_optional(small: Path) -> None:
    plain, _ = read_corpus("iemocap", small)
    (small / "IEMOCAP_full_release").mkdir()
    (small / "Session2").rename(small / "IEMOCAP_full_release/Session2")
    nested, _ = read_corpus("iemocap", small)
    assert nested.ids == plain.ids
    assert all((small / str(u.audio)).is_file() for u in nested.utterances)


def test_a_missing_clip_is_listed_and_its_text_is_kept(small: Path) -> None:
    (small / "Session2/sentences/wav/Ses02F_impro07/Ses02F_impro07_M000.wav").unlink()
    manifest, _ = read_corpus("iemocap", small)
    missing = manifest.excluded[-1]
    assert (missing.id, missing.modality) == ("Ses02F_impro07_M000", "audio")
    assert missing.reason.startswith("no audio file Session2/sentences/wav/")
    assert [(u.audio is None, u.text is None) for u in manifest.utterances] == [
        (False, False),
        (True, False),
        (False, False),
    ]


def test_without_transcripts_the_text_is_absent(small: Path) -> None:
    for path in (small / "Session2/dialog/transcriptions").iterdir():
        path.unlink()
    manifest, _ = read_corpus("iemocap", small)
    assert manifest.has("audio")
    assert not manifest.has("text")


def test_annotation_without_audio_is_a_text_only_corpus(small: Path) -> None:
    (small / "Session2/sentences").rename(small / "elsewhere")
    manifest, _ = read_corpus("iemocap", small)
    assert len(manifest) == 3
    assert not manifest.has("audio")
    assert all(e.modality is None for e in manifest.excluded)


def test_evaluation_files_without_any_turn(small: Path) -> None:
    (small / "Session2/dialog/EmoEvaluation/Ses02F_impro07.txt").write_text("nothing here\n")
    with pytest.raises(UsageError, match="has no usable utterance of corpus iemocap; 4 excluded, such as"):
        read_corpus("iemocap", small)


@pytest.fixture(scope="module")
def full(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Every usable utterance of the release, as empty files under the real names."""
    root = tmp_path_factory.mktemp("iemocap")
    lines = defaultdict(list)
    with (shared / "data/iemocap/utterances.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            audio = root / row["audio"]
            if not audio.parent.is_dir():
                audio.parent.mkdir(parents=True)
            audio.touch()
            dialogue = row["id"].rsplit("_", 1)[0]
            begin = len(lines[dialogue]) * 2.0
            lines[dialogue].append(
                f"[{begin:.4f} - {begin + 1:.4f}]\t{row['id']}\t{row['label']}\t[2.5000, 2.5000, 2.5000]\n"
            )
    for dialogue, turns in lines.items():
        folder = root / f"Session{int(dialogue[3:5])}/dialog/EmoEvaluation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{dialogue}.txt").write_text("".join(turns))
    manifest, _ = read_corpus("iemocap", root)
    return manifest


def test_iemocap4_counts_as_published(full: Manifest) -> None:
    task = protocol_files.load("iemocap4")
    members = [u for u in full.utterances if task.class_of(u) is not None]
    assert task.differences(members) == []
    assert len(members) == 5531
    classes = [task.class_of(u) for u in members]
    assert [classes.count(c) for c in ("ang", "hap", "sad", "neu")] == [1103, 1636, 1084, 1708]
    folds = [task.group_of(u) for u in members]
    assert [folds.count(str(s)) for s in range(1, 6)] == [1085, 1023, 1151, 1031, 1241]


def test_ten_speakers_two_in_each_session(full: Manifest) -> None:
    speakers = {(u.session, u.speaker) for u in full.utterances}
    assert speakers == {(str(s), f"Ses0{s}{sex}") for s in range(1, 6) for sex in "FM"}
    # the recording prefix names another person in about half of all turns
    assert any(str(u.speaker) != u.id[:6] for u in full.utterances)


def test_order_is_sessions_dialogues_turns(full: Manifest) -> None:
    keys = [(u.session, u.dialogue, u.turn) for u in full.utterances]
    assert keys == sorted(keys)  # type: ignore[type-var]

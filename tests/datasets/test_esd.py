"""ESD as it is released and as it circulates, its transcripts in all their encodings (the clips are empty)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpus_files import lay_out

from emofuse.datasets.esd import EMOTIONS, SPEAKERS, clip_id
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.gender import gender_of


def clip(speaker: str, number: int, split: str = "") -> str:
    return f"{speaker}/{EMOTIONS[(number - 1) // 350]}/{split}{speaker}_{number:06d}.wav"


def test_two_of_ten_english_speakers_at_full_size_are_a_fifth_of_the_expected_counts(tmp_path: Path) -> None:
    clips = [clip(speaker, number) for speaker in ("0019", "0020") for number in range(1, 1751)]
    manifest, _ = read_corpus("esd", lay_out(tmp_path, *clips, clip("0001", 1), clip("0010", 351)))
    assert manifest.counts("speaker") == {"0019": 1750, "0020": 1750}
    assert CORPORA["esd"].missing_groups(manifest) == list(SPEAKERS[:8])
    for task in map(protocol_files.load, ("esd5", "esd5-split")):
        assert task.expected is not None
        assert task.expected.total == 5 * len(manifest)
        classes = Counter(task.class_of(u) for u in manifest.utterances)
        assert task.expected.classes == {c: 5 * n for c, n in classes.items()}
    assert manifest.counts("split") == {"dev": 200, "test": 300, "train": 3000}
    assert [(e.id, e.reason) for e in manifest.excluded] == [
        ("0001_000001", "Mandarin, not English"),
        ("0010_000351", "Mandarin, not English"),
    ]
    assert {gender_of(u) for u in manifest.utterances} == {"female", "male"}


@pytest.mark.parametrize(
    ("number", "folder", "label", "split"),
    [
        (351, "evaluation/", "Angry", "dev"),
        (371, "test/", "Angry", "test"),
        (50, "", "Neutral", "test"),
        (751, "train/", "Happy", "train"),
        (1420, "evaluation/", "Surprise", "dev"),
        (1400, "", "Sad", "train"),
    ],
)
def test_a_number_gives_the_emotion_and_the_official_split(
    number: int, folder: str, label: str, split: str, tmp_path: Path
) -> None:
    (u,) = read_corpus("esd", lay_out(tmp_path, clip("0012", number, folder)))[0].utterances
    assert (u.label, u.split, u.speaker, u.extra["sentence"]) == (label, split, "0012", (number - 1) % 350 + 1)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "It’s a naïve plan."),
        ("utf-16", "It’s a naïve plan."),
        ("utf-16-le", "It’s a naïve plan."),
        ("gb2312", "It’s me, piglit。"),
        ("cp1252", "It’s a naïve plan."),
    ],
)
def test_transcripts_in_every_encoding_of_the_release(encoding: str, text: str, tmp_path: Path) -> None:
    lay_out(tmp_path, clip("0016", 1), clip("0016", 2, "evaluation/"))
    lines = f"0016_000001\t{text}\tNeutral\r\n\r\n0016_000002\t No. \tNeutral\r\n"
    (tmp_path / "0016" / "0016.txt").write_bytes(lines.encode(encoding))
    manifest, _ = read_corpus("esd", tmp_path)
    assert [u.text for u in manifest.utterances] == [text, "No."]
    assert manifest.notes == ()


def test_a_line_that_lost_its_beginning_gets_the_same_sentence_and_missing_files_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, *(clip("0015", n) for n in (137, 138, 487, 837)), clip("0011", 1), clip("0020", 1))
    (tmp_path / "0015" / "0015.txt").write_text(
        "0015_000137 the glass globe be.\tNeutral\n0015_000138 one requires.\tNeutral\n"
        "0015_000487\tLet the glass globe be.\tAngry\n0015_000837\tLet the glass globe be.\tHappy\n"
    )
    manifest, _ = read_corpus("esd", tmp_path)
    texts = {u.id: u.text for u in manifest.utterances}
    assert texts["0015_000137"] == "Let the glass globe be."
    assert texts["0015_000138"] is texts["0011_000001"] is None
    assert manifest.notes == (
        "2 damaged lines of 0015/0015.txt (0015_000137, ...): same sentence, other emotion used",
        "no 0011.txt, 0020.txt in the speakers' folders: their clips have no texts",
    )


@pytest.mark.parametrize("name", ["0021_000001", "0000_000001", "0011_001751", "0011_000000", "0011_1"])
def test_other_files_are_no_clips(name: str) -> None:
    assert clip_id(Path(f"{name}.wav")) is None

"""MSP-Podcast in the layouts of its releases (the clips are empty)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.schema import Excluded, Utterance

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
ROWS = """MSP-PODCAST_0001_0008.wav,N,2.4,4.0,3.0,127,Male,Test1
MSP-PODCAST_0002_0033.wav,A,5.8,2.2,5.4,Unknown,Unknown,Train
MSP-PODCAST_0002_0039_0001.wav,X,4.0,3.8,4.0,Unknown,Female,Development
MSP-PODCAST_0153_0001.wav,H,4.0,5.0,4.0,31,Female,Test2
"""
IDS = ["MSP-PODCAST_0001_0008", "MSP-PODCAST_0002_0033", "MSP-PODCAST_0002_0039_0001", "MSP-PODCAST_0153_0001"]
RATINGS = """MSP-PODCAST_0001_0008.wav; N; A:2.4; V:4.0; D:3.0;
WORKER00000001; Neutral; Neutral,Concerned; A:2; V:4; D:3;
WORKER00000002; Surprise; Surprise; A:3; V:4; D:3;
WORKER00000003; Neutral; Neutral; A:2; V:4; D:3;
"""


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "Labels/labels_consensus.csv", HEADER + ROWS)
    for key in IDS:
        write(tmp_path / f"Audios/{key}.wav")
    return tmp_path


def test_what_table_ratings_and_transcripts_say(root: Path) -> None:
    write(root / "Labels/labels.txt", RATINGS)
    write(root / f"Transcripts/{IDS[0]}.txt", "Well, I'm\n not sure.\n")
    manifest = read_corpus("msp-podcast", root)[0]
    assert manifest.ids == IDS
    assert manifest.utterances[0] == Utterance(
        id=IDS[0],
        audio=f"Audios/{IDS[0]}.wav",
        text="Well, I'm not sure.",
        label="N",
        speaker="127",
        dialogue="0001",
        split="test",
        extra={
            "partition": "Test1",
            "arousal": 2.4,
            "valence": 4.0,
            "dominance": 3.0,
            "gender": "male",
            "votes": "N:2 U:1",
        },
    )
    assert [u.split for u in manifest.utterances] == ["test", "train", "dev", "test"]
    assert [u.dialogue for u in manifest.utterances] == ["0001", "0002", "0002", "0153"]


def test_unknown_speakers_are_no_speaker_and_a_note_says_so(root: Path) -> None:
    manifest = read_corpus("msp-podcast", root)[0]
    assert [u.speaker for u in manifest.utterances] == ["127", None, None, "31"]
    assert manifest.notes == ("2 turns of unknown speakers: nobody can check that they speak in one split only",)


def test_speakers_in_several_splits_are_named(root: Path) -> None:
    write(root / "Labels/labels_consensus.csv", HEADER + ROWS.replace("Unknown,Unknown", "127,Male"))
    assert "1 speaker in more than one split, such as 127" in read_corpus("msp-podcast", root)[0].notes


def test_test3_is_excluded_whether_the_table_or_the_partitions_name_it(root: Path) -> None:
    reason = "no label: Test3 is released without labels"
    write(root / "Labels/labels_consensus.csv", HEADER + ROWS + "MSP-PODCAST_test3_0001.wav,,,,,,,Test3\n")
    write(root / "Partitions.txt", "Train; MSP-PODCAST_0002_0033.wav\n" + "Test3; MSP-PODCAST_test3_0002.wav\n")
    assert read_corpus("msp-podcast", root)[0].excluded == (
        Excluded(id="MSP-PODCAST_test3_0001", reason=reason),
        Excluded(id="MSP-PODCAST_test3_0002", reason=reason),
    )


def test_the_layout_of_older_releases(root: Path) -> None:
    (root / "Labels/labels_consensus.csv").unlink()
    write(root / "Labels/labels_concensus.csv", HEADER + ROWS.replace("Development", "Validation"))
    (root / "Audios").rename(root / "Audio")
    manifest = read_corpus("msp-podcast", root)[0]
    assert manifest.utterances[0].audio == f"Audio/{IDS[0]}.wav"
    assert (manifest.utterances[2].split, manifest.utterances[2].extra["partition"]) == ("dev", "Development")


@pytest.mark.parametrize(
    "detailed",
    [
        f'FileName,Rating\n{IDS[0]}.wav,"W1; Neutral; Neutral,Sad; A:3; V:3;"\n{IDS[0]}.wav,"W2; Other-Shy; A:3;"\n',
        f"FileName,Worker,EmoClass_Major,EmoAct\n{IDS[0]}.wav,W1,Neutral,3\n{IDS[0]}.wav,W2,Other-Shy,3\n",
    ],
)
def test_votes_of_the_detailed_table(detailed: str, root: Path) -> None:
    write(root / "Labels/labels_detailed.csv", detailed)
    first, second, *_ = read_corpus("msp-podcast", root)[0].utterances
    assert first.extra["votes"] == "N:1 O:1"
    assert "votes" not in second.extra


def test_transcripts_in_a_zip_and_a_damaged_one(root: Path) -> None:
    with zipfile.ZipFile(root / "Transcripts.zip", "w") as archive:
        archive.writestr(f"Transcripts/{IDS[1]}.txt", "So we went.\n")
        archive.writestr(f"__MACOSX/._{IDS[1]}.txt", "\0")
    assert read_corpus("msp-podcast", root)[0].utterances[1].text == "So we went."
    (root / "Transcripts.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"Transcripts\.zip cannot be read .*: copy it again, or unpack it"):
        read_corpus("msp-podcast", root)


def test_unknown_partitions_are_refused_all_at_once(root: Path) -> None:
    write(root / "Labels/labels_consensus.csv", HEADER + ROWS.replace("Test1", "test").replace("Test2", ""))
    with pytest.raises(UsageError, match=r"(?s)row 2: Split_Set is 'test'; valid: Train, .*, Test3.*row 5: .* ''"):
        read_corpus("msp-podcast", root)

"""CMU-MOSEI in the two forms that circulate (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Excluded, Utterance

CLIPS = """video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode
-3g5yACwYnA,0,"KEY IS PART, OF",1.0,,,,Positive,train
-3g5yACWYNA,4,it is the 3 D,0.0,,,,Neutral,valid
0K7dCp80n9c,13,no use,-2.33333,,,,Negative,test
"""
VIDEOS = """,file,index,start,end,label2a,label2b,label6,label7,split
0,--qXJuDtHPw,0,23.199,30.325,1,1,0,1,1
1,-3g5yACwYnA,0,-0.478,10.5551,1,0,0,0,0
2,0K7dCp80n9c,1,1.919,5.299,0,-1,0,-2,2
3,xyz,0,1,2,0,-1,0,-2,3
"""


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_table_of_clips(tmp_path: Path) -> None:
    write(tmp_path / "label.csv", CLIPS)
    for name in ("-3g5yACwYnA/0.mp4", "-3g5yACWYNA/4.wav"):
        write(tmp_path / "Raw" / name)
    manifest = read_corpus("cmu-mosei", tmp_path)[0]
    assert manifest.utterances[0] == Utterance(
        id="-3g5yACwYnA_0",
        audio="Raw/-3g5yACwYnA/0.mp4",
        text="KEY IS PART, OF",
        label="Positive",
        dialogue="-3g5yACwYnA",
        split="train",
        extra={"sentiment": 1.0},
    )
    assert [(u.audio, u.split) for u in manifest.utterances[1:]] == [("Raw/-3g5yACWYNA/4.wav", "dev"), (None, "test")]
    assert manifest.excluded == (
        Excluded(id="0K7dCp80n9c_13", reason="no audio file Raw/0K7dCp80n9c/13.mp4", modality="audio"),
    )


def test_the_table_alone_is_a_text_corpus(tmp_path: Path) -> None:
    write(tmp_path / "label.csv", CLIPS)
    manifest = read_corpus("cmu-mosei", tmp_path)[0]
    assert (len(manifest), manifest.has("audio"), manifest.excluded) == (3, False, ())


def test_every_mistake_of_a_table_of_clips_is_named(tmp_path: Path) -> None:
    broken = CLIPS.replace("1.0,", "5,").replace("valid", "dev").replace("Negative", "Bad")
    write(tmp_path / "label.csv", broken)
    with pytest.raises(UsageError) as error:
        read_corpus("cmu-mosei", tmp_path)
    for line in (
        "row 2: label is '5', expected a number from -3 to 3",
        "row 3: mode is 'dev'; valid: train, valid, test",
        "row 4: annotation is 'Bad'; valid: Negative, Neutral, Positive",
    ):
        assert line in str(error.value)


def test_the_table_of_ch_sims_is_refused(tmp_path: Path) -> None:
    header = CLIPS.split("\n")[0]
    write(tmp_path / "label.csv", f"{header}\nvideo_0001,0001,我不想嫁给李茶,-1,,,,Negative,train\n")
    with pytest.raises(UsageError, match="is the table of CH-SIMS"):
        read_corpus("cmu-mosei", tmp_path)


@pytest.mark.parametrize("raw", ["", "Raw/"])
def test_a_table_of_videos_with_the_authors_archive(raw: str, tmp_path: Path) -> None:
    write(tmp_path / "CMU_MOSEI_Labels.csv", VIDEOS)
    for video in ("--qXJuDtHPw", "-3g5yACwYnA", "0K7dCp80n9c"):
        write(tmp_path / f"{raw}Audio/Full/WAV_16000/{video}.wav")
    lines = (
        "--qXJuDtHPw___5___23.1989987___30.324998___I see, that_s it\nno segment\n--qXJuDtHPw___x___soon___later___no\n"
    )
    write(tmp_path / f"{raw}Transcript/Segmented/Combined/--qXJuDtHPw.txt", lines)
    manifest = read_corpus("cmu-mosei", tmp_path)[0]
    first, second, third = manifest.utterances
    assert first == Utterance(
        id="--qXJuDtHPw_0",
        audio=f"{raw}Audio/Full/WAV_16000/--qXJuDtHPw.wav",
        start=23.199,
        end=30.325,
        text="I see, that_s it",
        label="Positive",
        dialogue="--qXJuDtHPw",
        split="dev",
        extra={"sentiment7": "1"},
    )
    assert (second.start, second.label, second.text) == (0.0, "Neutral", None)
    assert (third.split, third.label) == ("test", "Negative")
    assert manifest.excluded == (Excluded(id="xyz_0", reason="its video is in no official fold"),)


def test_a_table_of_videos_without_sound_and_texts(tmp_path: Path) -> None:
    write(tmp_path / "CMU_MOSEI_Labels.csv", VIDEOS)
    with pytest.raises(UsageError, match=r"has no usable utterance .*: neither its video's sound nor its text"):
        read_corpus("cmu-mosei", tmp_path)
    write(tmp_path / "Raw/Transcript/Segmented/Combined/0K7dCp80n9c.txt", "0K7dCp80n9c___9___1.919___5.299___No\n")
    (utterance,) = read_corpus("cmu-mosei", tmp_path)[0].utterances
    assert (utterance.text, utterance.audio, utterance.start) == ("No", None, None)


def test_the_protocols_agree_with_each_other() -> None:
    two, three = (protocol_files.load(f"cmu-mosei{n}").expected for n in (2, 3))
    assert two is not None
    assert three is not None
    assert protocol_files.default_for("cmu-mosei").name == "cmu-mosei3"
    assert three.total == sum(three.classes.values()) == sum(three.folds.values()) == 22856
    assert two.total == sum(two.classes.values()) == sum(two.folds.values())
    assert two.classes == {k: n for k, n in three.classes.items() if k != "neutral"}

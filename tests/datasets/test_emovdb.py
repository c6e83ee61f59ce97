"""EmoV-DB in its two layouts, with names in all their spellings (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import differences, lay_out

from emofuse.common.errors import UsageError
from emofuse.datasets.emovdb import clip_id
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.manifests.gender import gender_of

# Sentences in each folder of the release.
COUNTS = {
    "bea": {"Amused": 296, "Angry": 303, "Disgusted": 333, "Neutral": 355, "Sleepy": 497},
    "jenie": {"Amused": 222, "Angry": 496, "Disgusted": 189, "Neutral": 417, "Sleepy": 466},
    "josh": {"Amused": 296, "Neutral": 302, "Sleepy": 263},
    "sam": {"Amused": 501, "Angry": 468, "Disgusted": 497, "Neutral": 492, "Sleepy": 494},
}
WORDS = {"Amused": "amused", "Angry": "anger", "Disgusted": "Disgust", "Neutral": "Neutral", "Sleepy": "sleepiness"}


def test_emovdb_at_full_size(tmp_path: Path) -> None:
    clips = [
        f"{speaker}_{emotion}/{WORDS[emotion]}_1-28_{n:04d}.wav"
        for speaker, emotions in COUNTS.items()
        for emotion, count in emotions.items()
        for n in range(1, count + 1)
    ]
    manifest, _ = read_corpus("emovdb", lay_out(tmp_path, *clips))
    assert differences(manifest, ["emovdb5"]) == []
    assert CORPORA["emovdb"].missing_groups(manifest) == []
    assert manifest.excluded == ()


def test_what_names_say_with_the_prompts_of_cmu_arctic(tmp_path: Path) -> None:
    lay_out(tmp_path, "sam_Disgusted/Disgust_169_196_0183.wav", "bea/Neutral/Neutral_1-28_0002.wav")
    (tmp_path / "cmuarctic.data").write_text(
        '( arctic_a0002 "Not at this particular case, Tom." )\n( arctic_b0183 "Another set." )\n'
    )
    bea, sam = read_corpus("emovdb", tmp_path)[0].utterances
    assert (bea.id, bea.label, bea.text) == ("bea_neutral_0002", "neutral", "Not at this particular case, Tom.")
    assert (sam.id, sam.speaker, sam.text) == ("sam_disgust_0183", "sam", None)
    assert (dict(sam.extra), gender_of(bea)) == ({"sentence": 183, "sex": "male"}, "female")


def test_the_second_take_of_a_sentence_is_listed(tmp_path: Path) -> None:
    lay_out(tmp_path, "bea_Amused/amused_1-15_0002.wav", "bea_Amused/amused_1-28_0002.wav")
    manifest, _ = read_corpus("emovdb", tmp_path)
    assert [u.audio for u in manifest.utterances] == ["bea_Amused/amused_1-15_0002.wav"]
    assert [e.reason for e in manifest.excluded] == ["a second file of a clip"]


def test_clips_that_no_folder_gives_a_speaker_are_refused_or_listed(tmp_path: Path) -> None:
    lay_out(tmp_path, "Amused/amused_1-15_0002.wav")
    with pytest.raises(UsageError, match="each archive in its own folder"):
        read_corpus("emovdb", tmp_path)
    lay_out(tmp_path, "josh/Amused/amused_1-15_0002.wav")
    (item,) = read_corpus("emovdb", tmp_path)[0].excluded
    assert item.reason == "not named as a clip of EmoV-DB in a folder of its speaker"


@pytest.mark.parametrize(
    "file", ["bea/Amused/amused_0001.wav", "bea/Angry/happy_1-15_0001.wav", "ann/anger_1-2_0001.wav"]
)
def test_other_files_are_no_clips(file: str) -> None:
    assert clip_id(Path("corpus") / file) is None

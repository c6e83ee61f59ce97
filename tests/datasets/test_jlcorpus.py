"""JL-Corpus as it is released (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import differences, lay_out

from emofuse.datasets.jlcorpus import PRIMARY, SECONDARY, SPEAKERS, clip_id
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.manifests.gender import gender_of

RAW = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"


def test_jlcorpus_at_full_size_with_copies_in_a_second_folder(tmp_path: Path) -> None:
    stems = [
        f"{speaker}_{emotion}_{n}{half}_{take}"
        for speaker in SPEAKERS
        for emotion in PRIMARY + SECONDARY
        for n in range(1, 16)
        for half in "ab"
        for take in (1, 2)
    ]
    lay_out(tmp_path, *(f"{RAW}/{stem}.wav" for stem in stems), *(f"{RAW.lower()}/{stem}.wav" for stem in stems[:9]))
    for stem in stems:
        (tmp_path / RAW / f"{stem}.txt").write_text("Carl leaps into a jeep.")
    manifest, _ = read_corpus("jlcorpus", tmp_path)
    assert differences(manifest, ["jlcorpus10", "jlcorpus5"]) == []
    assert CORPORA["jlcorpus"].missing_groups(manifest) == []
    assert len(manifest.excluded) == 9
    assert all(u.text == "Carl leaps into a jeep." for u in manifest.utterances)
    assert manifest.notes == ()


def test_what_a_file_name_says_and_a_clip_without_its_text(tmp_path: Path) -> None:
    lay_out(tmp_path, "female1_anxious_7b_2.wav", "male2_sad_15a_1.wav")
    (tmp_path / "male2_sad_15a_1.txt").write_text("\ufeffThe seed is buried\r\n in deep. \r\n", encoding="utf-8")
    manifest, _ = read_corpus("jlcorpus", tmp_path)
    first, second = manifest.utterances
    assert (first.id, first.label, first.speaker, first.text) == ("female1_anxious_7b_2", "anxious", "female1", None)
    assert dict(first.extra) == {"sentence": "7b", "take": 2, "sex": "female"}
    assert (gender_of(second), second.text) == ("male", "The seed is buried in deep.")
    assert manifest.notes == ("1 clip without a .txt beside it, such as female1_anxious_7b_2",)


@pytest.mark.parametrize("name", ["male3_sad_1a_1", "male1_bored_1a_1", "male1_sad_1c_1", "male1_sad_1a_3"])
def test_other_files_are_no_clips(name: str) -> None:
    assert clip_id(Path(f"{name}.wav")) is None

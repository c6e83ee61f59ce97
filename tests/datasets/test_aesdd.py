"""AESDD as it is released: regular names and the exceptions from them (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import differences, lay_out

from emofuse.datasets.aesdd import EMOTIONS, clip_id
from emofuse.datasets.registry import CORPORA, read_corpus

# Not in the release; named otherwise, in its place; and further takes.
MISSING = {"d18 (5)", "f02 (4)", "h11 (3)"}
RENAMED = {"d03 (1)": "d03 (01)", **{f"f{n} (1)": f"f{n} (01)" for n in (10, 11, 12, 13)}, "s01 (5)": "s01 (5)a"}
TAKES = {"a06 (5)b", "d01 (5)b", "d03 (5)b", "d04 (5)b", "f18 (5)b", "s01 (5)b", "s02 (5)b", "s04 (5)b"}


def names() -> list[str]:
    regular = {f"{letter}{n:02d} ({actor})" for letter in EMOTIONS for n in range(1, 21) for actor in range(1, 7)}
    stems = {RENAMED.get(stem, stem) for stem in regular - MISSING} | TAKES
    return sorted(f"{EMOTIONS[stem[0]]}/{stem}.wav" for stem in stems)


def test_aesdd_at_full_size_without_its_damaged_clip(tmp_path: Path) -> None:
    clips = names()
    assert len(clips) == 605
    manifest, root = read_corpus("aesdd", lay_out(tmp_path, *clips, "Tools and Documentation/readme.txt"))
    assert differences(manifest, ["aesdd5"]) == []
    assert CORPORA["aesdd"].missing_groups(manifest) == []
    assert [(e.id, e.reason) for e in manifest.excluded] == [("s05-3", "the release's file has no audio data")]
    assert all((root / str(u.audio)).is_file() for u in manifest.utterances)
    assert not manifest.has("text")


@pytest.mark.parametrize(
    ("file", "key", "speaker", "extra"),
    [
        ("anger/a03 (4).wav", "a03-4", "4", {"utterance": 3}),
        ("fear/f18 (5)b.wav", "f18-5b", "5", {"utterance": 18, "take": "b"}),
        ("disgust/d03 (01).wav", "d03-1", "1", {"utterance": 3}),
        ("happiness/h20 (12).wav", "h20-12", "12", {"utterance": 20}),
    ],
)
def test_what_a_file_name_says(file: str, key: str, speaker: str, extra: dict[str, object], tmp_path: Path) -> None:
    (u,) = read_corpus("aesdd", lay_out(tmp_path, file))[0].utterances
    assert (u.id, u.label, u.speaker, dict(u.extra)) == (key, file.split("/")[0], speaker, extra)


@pytest.mark.parametrize("file", ["fear/a03 (4).wav", "a03 (4).wav", "anger/a03.wav", "anger/x03 (4).wav"])
def test_other_files_are_no_clips(file: str) -> None:
    assert clip_id(Path("corpus") / file) is None

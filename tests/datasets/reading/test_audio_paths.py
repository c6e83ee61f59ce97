"""Audio files whose names are spelled otherwise than in the annotation."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from emofuse.datasets.reading.audio_paths import AudioFinder
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.schema import Excluded, Manifest, Utterance

NFC = unicodedata.normalize("NFC", "wütend 1.wav")
NFD = unicodedata.normalize("NFD", NFC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("Wav/S 1/a 01.WAV", f"wav2/{NFD}", "wav2/b.wav", "wav2/twice.wav", "wav2/TWICE.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("Wav/S 1/a 01.WAV", "Wav/S 1/a 01.WAV"),
        ("Wav\\S 1\\a 01.wav", "Wav/S 1/a 01.WAV"),
        ("wav/s 1/A 01.wav", "Wav/S 1/a 01.WAV"),
        (f"wav2/{NFC}", f"wav2/{NFD}"),
        (f"WAV2/{NFC.upper()}", f"wav2/{NFD}"),
        ("wav2/twice.wav", "wav2/twice.wav"),
        ("wav2/Twice.wav", None),
        ("wav2", None),
        ("wav2/c.wav", None),
        ("", None),
    ],
)
def test_a_file_is_found_under_another_spelling_of_its_name(root: Path, given: str, found: str | None) -> None:
    finder = AudioFinder(root)
    assert finder.find(given) == found
    assert finder.respelled == ({} if found in (None, given) else {given: found})


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("wav2/B.flac", "wav2/b.wav"),
        ("wav2/Twice.wav", "wav2/TWICE.wav"),
        ("Wav/S%201/a%2001.wav", "Wav/S 1"),
        ("Wav/S 1/a_1.wav", "Wav/S 1/a 01.WAV"),
        ("wav2/b1.wav", None),
        ("elsewhere/x.wav", None),
    ],
)
def test_a_path_that_may_be_meant_is_shown(root: Path, given: str, near: str | None) -> None:
    assert AudioFinder(root).near(given) == near


def test_a_corpus_says_once_how_many_names_differ(root: Path) -> None:
    rows = ["id,audio", f"a,wav2/{NFC}", "b,wav2\\b.wav", "c,wav2/b.mp3"]
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    manifest, _ = read_corpus("custom", root)
    assert [u.audio for u in manifest.utterances] == [f"wav2/{NFD}", "wav2/b.wav"]
    assert manifest.excluded[0].reason == "no audio file wav2/b.mp3; there is wav2/b.wav"
    (note,) = manifest.notes
    assert note.startswith("2 audio files found under a name in another case, Unicode form or slash: ")


def test_a_missing_file_with_a_similar_one_keeps_its_values() -> None:
    scanned = Utterance(id="a", audio="b.mp3", seconds=1.0, audio_digest="d", text="hello")
    older = Manifest(corpus="c", reader="r", utterances=(scanned,))
    gone = Excluded(id="a", reason="no audio file b.mp3; there is b.wav", modality="audio")
    now = Manifest(corpus="c", reader="r", utterances=(Utterance(id="a", text="hello"),), excluded=(gone,))
    assert now.merged_into(older).utterances == (scanned,)

"""All corpora: their folders, how they are recognised, and the errors of wrong usage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from corpus_files import lay_out

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.datasets.base import ReaderOptions, corpus_root, wav_files
from emofuse.datasets.reading.tables import read_table, text_lines
from emofuse.datasets.registry import CORPORA, read_corpus

NAMES = CORPORA.names()
# one characteristic file of each layout; empty, since recognising and listing never decode
CHARACTERISTIC = {
    "iemocap": "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
    "meld": "train/train_sent_emo.csv",
    "savee": "AudioData/DC/a01.wav",
    "ravdess": "Actor_01/03-01-01-01-01-01-01.wav",
    "emodb": "wav/03a01Fa.wav",
    "cremad": "AudioWAV/1001_DFA_ANG_XX.wav",
    "tess": "OAF_angry/OAF_back_angry.wav",
    "esd": "0011/Angry/0011_000351.wav",
    "emovdb": "bea_Amused/amused_1-15_0001.wav",
    "jlcorpus": "JL(wav+txt)/male1_angry_1a_1.wav",
    "emovo": "f1/dis-f1-b1.wav",
    "aesdd": "anger/a03 (5).wav",
    "msp-improv": "Evalution.txt",
    "msp-podcast": "Labels/labels_consensus.csv",
    "cmu-mosei": "label.csv",
    "goemotions": "data/train.tsv",
    "emobox": "data/aesdd/aesdd.jsonl",
    "custom": "manifest.csv",
    "synthetic": "synthetic.csv",
}


def test_every_planned_corpus_is_registered() -> None:
    assert set(CHARACTERISTIC) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_is_recognised_by_its_layout_and_by_no_other(name: str, tmp_path: Path) -> None:
    lay_out(tmp_path, CHARACTERISTIC[name])
    assert [other for other in NAMES if CORPORA[other].looks_like(tmp_path)] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_the_error_for_a_folder_of_another_corpus_names_it(name: str, tmp_path: Path) -> None:
    other = "meld" if name != "meld" else "iemocap"
    lay_out(tmp_path, CHARACTERISTIC[other])
    with pytest.raises(UsageError, match=rf"not laid out as {name}: looked for .*; found .*--dataset {other}\."):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_error_for_an_empty_folder_names_the_expected_layout(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"not laid out as {name}: looked for .+; found nothing\.$"):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("base", [None, "/nowhere/corpora"])
def test_a_missing_folder_names_all_three_places_and_the_page(
    name: str, base: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMOFUSE_CORPORA", raising=False)
    if base:
        monkeypatch.setenv("EMOFUSE_CORPORA", base)
    with pytest.raises(UsageError) as error:
        corpus_root(CORPORA[name], None)
    message = str(error.value)
    expected = f"{base}/{name}" if base else f"corpora/{name}"
    assert message.startswith(f"corpus {name}: {expected} does not exist.")
    assert "--root (not given)" in message
    assert f"$EMOFUSE_CORPORA/{name}" in message
    assert f"corpora/{name}" in message
    assert CORPORA[name].page in message


def test_root_overrides_the_variable_and_the_variable_overrides_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMOFUSE_CORPORA", raising=False)
    given, by_variable, default = tmp_path / "given", tmp_path / "all/savee", tmp_path / "corpora/savee"
    for folder in (given, by_variable, default):
        folder.mkdir(parents=True)
    assert corpus_root(CORPORA["savee"], None).resolve() == default
    monkeypatch.setenv("EMOFUSE_CORPORA", str(tmp_path / "all"))
    assert corpus_root(CORPORA["savee"], None) == by_variable
    assert corpus_root(CORPORA["savee"], given) == given
    # a given folder that is absent is never silently replaced by another one
    with pytest.raises(UsageError, match="absent"):
        corpus_root(CORPORA["savee"], tmp_path / "absent")


def test_a_root_that_is_a_file_is_refused_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "meld.zip").write_bytes(b"")
    with pytest.raises(UsageError, match=r"meld\.zip is a file, not a folder"):
        corpus_root(CORPORA["meld"], tmp_path / "meld.zip")


def test_an_unknown_corpus_lists_the_valid_ones_and_the_closest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Did you mean 'iemocap'\? Valid: .*cremad, custom, emobox, emodb, .*synthetic"
    ):
        read_corpus("iemocab")


@pytest.mark.parametrize("name", NAMES)
def test_options_without_effect_are_refused_all_at_once(name: str, tmp_path: Path) -> None:
    options = ReaderOptions(transcripts=tmp_path / "t.csv", meld_clips="recut", manifest=tmp_path / "m.csv")
    with pytest.raises(UsageError) as error:
        read_corpus(name, tmp_path, options)
    for option, flag in options.given().items():
        assert (flag in str(error.value)) == (option not in CORPORA[name].options)


def test_reading_imports_no_heavy_package() -> None:
    code = "import emofuse.datasets.registry, sys; print(sorted({'torch','soundfile','av','h5py'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_lines_that_are_not_utf8_are_decoded_as_windows_1252(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffna\u00efve".encode() + b"\r\nI\x92m here\nna\xc3\xafve\n")
    assert text_lines(tmp_path / "a.txt") == ["naïve", "I’m here", "naïve"]


def test_csv_rows_names_each_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\na,"one, two"\n\nb,three\n')
    assert read_table(path, ("id", "text")).rows == [
        (2, {"id": "a", "text": "one, two"}),
        (4, {"id": "b", "text": "three"}),
    ]
    with pytest.raises(UsageError, match="has no column label; it has: id, text"):
        read_table(path, ("id", "label"))
    path.write_text("id,text\na,one, two\nb\n")
    with pytest.raises(UsageError, match="row 2 has 3; row 3 has 1 cells where the header has 2"):
        read_table(path, ("id",))
    with pytest.raises(UsageError, match="no file"):
        read_table(tmp_path / "absent.csv", ())


def test_wav_files_follow_links_skip_apple_doubles_and_end_in_a_loop(tmp_path: Path) -> None:
    lay_out(tmp_path / "elsewhere", "b.wav", "._b.wav", "notes.txt")
    root = lay_out(tmp_path / "root", "a.WAV", "__MACOSX/x.txt")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    found = {p.relative_to(root).as_posix() for p in wav_files(root)}
    assert {"a.WAV", "linked/b.wav"} <= found
    assert not any("._" in f or f.endswith(".txt") for f in found)

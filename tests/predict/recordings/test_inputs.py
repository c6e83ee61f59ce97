"""Files, folders and manifests as one list."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.predict.recordings.inputs import ROOT, read_inputs


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.wav", "a.FLAC", "deep/er/c.mp3", "deep/notes.txt", "deep/.hidden.wav"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_a_folder_gives_its_audio_files_and_its_subfolders(clips: Path) -> None:
    found = read_inputs([Path("clips")])
    assert [u.id for u in found.utterances] == ["clips/a.FLAC", "clips/b.wav", "clips/deep/er/c.mp3"]
    assert all((ROOT / str(u.audio)).is_file() for u in found.utterances)


def test_a_file_counts_whatever_its_suffix_and_only_once(clips: Path) -> None:
    found = read_inputs([Path("clips/deep/notes.txt"), Path("clips"), Path("clips/b.wav")])
    assert found.utterances[0].id == "clips/deep/notes.txt"
    assert len(found.utterances) == 4


def test_a_manifest_gives_its_rows_with_times_and_words(clips: Path) -> None:
    Path("m.csv").write_text("id,audio,start,end,text,label\nx,clips/b.wav,1,2.5,so good,hap\ny,clips/gone.wav,,,hm,\n")
    found = read_inputs([Path("m.csv")])
    x, y = found.utterances
    assert (x.id, x.start, x.end, x.text, x.label) == ("x", 1.0, 2.5, "so good", None)
    assert (ROOT / str(x.audio)) == (clips / "clips" / "b.wav").resolve()
    assert (y.audio, y.text) == (None, "hm")
    assert [(e.id, e.reason) for e in found.excluded] == [("y", "no audio file clips/gone.wav")]


def test_every_wrong_path_is_named(clips: Path) -> None:
    Path("empty").mkdir()
    Path("m.csv").write_text("name\nx\n")
    with pytest.raises(UsageError) as caught:
        read_inputs([Path("empty"), Path("gone.wav"), Path("m.csv")])
    for part in ("empty contains no audio: looked for .wav", "no file or folder gone.wav", "m.csv has no column id"):
        assert part in str(caught.value)


def test_one_id_cannot_mean_two_utterances(clips: Path) -> None:
    Path("m.csv").write_text("id,text\nx,so good\n")
    Path("n.csv").write_text("id,text\nx,so bad\n")
    with pytest.raises(UsageError, match=r"n\.csv: id 'x' is already used by another input"):
        read_inputs([Path("m.csv"), Path("n.csv")])


def test_a_text_belongs_to_one_clip(clips: Path) -> None:
    assert read_inputs([Path("clips/b.wav")], "so good").utterances[0].text == "so good"
    assert read_inputs([], "so good").utterances[0].id == "text"
    with pytest.raises(UsageError, match="text is given for 3 clips, expected one clip"):
        read_inputs([Path("clips")], "so good")


def test_a_name_that_no_manifest_may_hold_is_excluded_and_the_rest_stays(clips: Path) -> None:
    odd = clips / "clips" / "x\\..\\up.wav"
    odd.write_bytes(b"x")
    found = read_inputs([Path("clips")])
    assert len(found.utterances) == 3
    assert [e.id for e in found.excluded] == ["clips/x\\..\\up.wav"]

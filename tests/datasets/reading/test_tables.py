"""Tables as spreadsheets and data frames write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.reading.tables import read_table, repaired, text_lines
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.schema import Manifest


def read(path: Path, data: str | bytes) -> Manifest:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_corpus("custom", path.parent, ReaderOptions(manifest=path))[0]


@pytest.mark.parametrize(
    ("name", "separator", "words"),
    [
        ("a.csv", ",", None),
        ("a.csv", ";", "semicolons"),
        ("a.csv", "\t", "tabs"),
        ("a.tsv", "\t", None),
        ("a.tsv", ",", "commas"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_is_found_and_said(
    tmp_path: Path, name: str, separator: str, words: str | None, encoding: str, end: str
) -> None:
    rows = ["id,text,label", "a,hello,joy", "b,bye,fear"]
    manifest = read(tmp_path / name, end.join(rows).replace(",", separator).encode(encoding))
    assert [(u.id, u.text, u.label) for u in manifest.utterances] == [("a", "hello", "joy"), ("b", "bye", "fear")]
    assert manifest.notes == ((f"{tmp_path / name} is read with {words} between its columns",) if words else ())


def test_a_comma_is_the_decimal_point_where_semicolons_separate_columns(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (u,) = read(tmp_path / "m.csv", "id;audio;start;end\nu;a.wav;0,5;1,25\n").utterances
    assert (u.start, u.end) == (0.5, 1.25)


def test_a_table_of_one_column_without_the_needed_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name;text\nx;y\n")
    with pytest.raises(UsageError, match="has no column id; it has: name;text"):
        read_table(tmp_path / "a.csv", ("id",))


@pytest.mark.parametrize("value", ["nan", "NaN", "None", "<NA>", " nan ", ""])
def test_missing_values_of_data_frames(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.wav").touch()
    head = "id,audio,start,end,text,label,speaker,valence\n"
    manifest = read(tmp_path / "m.csv", head + f"a,a.wav,{','.join([value] * 6)}\nb,a.wav,0.5,NaT,hello,joy,s1,2\n")
    a, b = manifest.utterances
    assert (a.start, a.end, a.text, a.label, a.speaker, dict(a.extra)) == (None, None, "", None, None, {})
    assert (b.start, b.end, b.label) == (0.5, None, "joy")
    missing = "start 1, end 2, text 1, label 1, speaker 1, valence 1" if value else "end 1"
    assert manifest.notes == (f"cells such as nan and None are missing values: {missing}",)


def test_missing_values_in_json_lines(tmp_path: Path) -> None:
    manifest = read(tmp_path / "m.jsonl", '{"id": "a", "text": "hello", "label": NaN, "end": NaN, "speaker": "None"}\n')
    (u,) = manifest.utterances
    assert (u.label, u.end, u.speaker) == (None, None, None)


def test_none_is_a_word_in_a_text_and_an_id(tmp_path: Path) -> None:
    manifest = read(tmp_path / "m.csv", "id,text,label\nnan,None.,none\n")
    assert [(u.id, u.text, u.label) for u in manifest.utterances] == [("nan", "None.", "none")]


def test_labels_that_differ_only_in_case_or_blanks_are_named_once(tmp_path: Path) -> None:
    rows = ["a,x,joy", "b,x,Joy", "c,x,joy", "d,x,very  sad", "e,x,very sad", "f,x,fear"]
    (note,) = read(tmp_path / "m.csv", "id,text,label\n" + "\n".join(rows)).notes
    assert note.endswith("each with its count: 'joy' 2, 'Joy' 1; 'very  sad' 1, 'very sad' 1")


@pytest.mark.parametrize("turn", ["3", "3.0", "3."])
def test_whole_numbers_that_passed_through_a_data_frame(tmp_path: Path, turn: str) -> None:
    assert read(tmp_path / "m.csv", f"id,text,turn\na,x,{turn}\n").utterances[0].turn == 3
    with pytest.raises(UsageError, match=r"turn is '3\.5'"):
        read(tmp_path / "m.csv", "id,text,turn\na,x,3.5\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("id,text\na,b\n".encode("utf-16"), "is UTF-16, expected UTF-8"),
        ("id,text\na,b\n".encode("utf-16-le"), "is UTF-16, expected UTF-8"),
        ("id,text\na,b\n".encode("utf-16-be"), "is UTF-16, expected UTF-8"),
        (b"PK\x03\x04" + bytes(100), "is a spreadsheet or an archive, expected text"),
    ],
)
@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_files_that_are_not_utf_8_text(tmp_path: Path, data: bytes, message: str, name: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path / name, data)


def test_control_characters_are_read_as_windows_1252_and_counted(tmp_path: Path) -> None:
    text = "I\x92m sure \x93so\x94\x85"
    assert repaired(text) == "I’m sure “so”…"
    assert repaired("\x81 stays, ü too") == "\x81 stays, ü too"
    path = tmp_path / "m.csv"
    manifest = read(path, f"id,text\na,{text}\n")
    assert manifest.utterances[0].text == "I’m sure “so”…"
    assert text_lines(path)[1] == "a,I’m sure “so”…"
    (note,) = manifest.notes
    assert note.startswith(f"4 control characters (U+0080 to U+009F) of {path} read as Windows-1252")

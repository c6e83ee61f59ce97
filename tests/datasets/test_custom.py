"""Your own corpus: every file type, and every mistake reported at once with its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.jsonl import write_manifest
from emofuse.manifests.schema import Excluded, Manifest, Utterance

ROWS: list[dict[str, Any]] = [
    {"id": "u1", "audio": "wav/a.wav", "start": 0.5, "end": 2.0, "text": "Hi, you", "label": "joy", "speaker": "ann"},
    {"id": "u2", "audio": "wav/b.wav", "text": "Go — away", "label": "anger", "turn": 3, "mood": "tired"},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "wav").mkdir()
    for name in "ab":
        (tmp_path / f"wav/{name}.wav").touch()
    return tmp_path


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> str:
    columns = list(dict.fromkeys(k for row in rows for k in row))
    lines = [columns, *([f'"{row[c]}"' if c in row else "" for c in columns] for row in rows)]
    return "".join(separator.join(line) + "\n" for line in lines)


def own(path: Path) -> ReaderOptions:
    return ReaderOptions(manifest=path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_columns_become_fields_and_the_others_extra(suffix: str, root: Path) -> None:
    path = root / f"mine{suffix}"
    lines = "".join(json.dumps(r) + "\n" for r in ROWS)
    path.write_text(lines if suffix == ".jsonl" else as_csv(ROWS, "\t" if suffix == ".tsv" else ","))
    manifest, where = read_corpus("custom", None, own(path))
    assert where == root
    assert manifest.utterances == (
        Utterance(id="u1", audio="wav/a.wav", start=0.5, end=2.0, text="Hi, you", label="joy", speaker="ann"),
        Utterance(id="u2", audio="wav/b.wav", text="Go — away", label="anger", turn=3, extra={"mood": "tired"}),
    )
    assert manifest.corpus == "custom"


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_manifest_of_a_default_name_is_found_in_the_root(name: str, root: Path) -> None:
    text = as_csv(ROWS) if name.endswith("csv") else "".join(json.dumps(r) + "\n" for r in ROWS)
    (root / name).write_text(text)
    assert read_corpus("custom", root)[0].ids == ["u1", "u2"]


def test_audio_and_manifest_may_be_in_different_folders(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("annotation") / "mine.csv"
    path.write_text(as_csv([{"id": "u1", "audio": "wav/a.wav"}, {"id": "u2", "audio": str(root / "wav/b.wav")}]))
    manifest, where = read_corpus("custom", root, own(path))
    assert where == root
    assert [u.audio for u in manifest.utterances] == ["wav/a.wav", "wav/b.wav"]


def test_a_manifest_written_by_emofuse_is_read_back_unchanged(root: Path) -> None:
    written = Manifest(
        corpus="lab",
        reader="custom-1",
        utterances=(Utterance(id="u1", audio="wav/a.wav", text="x\u2028y", extra={"valence": 2.5}),),
        excluded=(Excluded(id="u7", reason="no label"),),
    )
    write_manifest(written, root / "mine.jsonl")
    manifest, _ = read_corpus("custom", None, own(root / "mine.jsonl"))
    assert manifest.utterances == written.utterances
    assert manifest.excluded == written.excluded


def test_every_mistake_is_named_at_once_with_its_row(root: Path) -> None:
    rows = [
        {"id": "u1", "audio": "wav/a.wav"},
        {"id": "u1", "audio": "wav/b.wav"},
        {"audio": "wav/a.wav"},
        {"id": "u4", "audio": "wav/a.wav", "start": "soon"},
        {"id": "u5"},
        {"id": "u6", "audio": "../elsewhere/a.wav"},
        {"id": "u7", "audio": "wav/a.wav", "start": "3", "end": "1"},
        {"id": "u8", "audio": "/elsewhere/a.wav"},
        {"id": "u9", "audio": "wav/b.wav", "turn": "first"},
    ]
    (root / "mine.csv").write_text(as_csv(rows))
    with pytest.raises(UsageError) as error:
        read_corpus("custom", None, own(root / "mine.csv"))
    assert [line.removeprefix("  - ") for line in str(error.value).split("\n")[1:]] == [
        "row 3: id 'u1' is already used by row 2",
        "row 4: has no id",
        "row 5: u4: start is 'soon'",
        "row 6: u5: has neither audio nor text",
        "row 7: u6: audio path '../elsewhere/a.wav' leaves the corpus root; paths are relative to it",
        "row 8: u7: ends at 1.0 s before it starts at 3.0 s",
        "row 9: u8: audio path '/elsewhere/a.wav' leaves the corpus root; paths are relative to it",
        "row 10: u9: turn is 'first'",
    ]


def test_row_numbers_are_those_of_the_file(root: Path) -> None:
    (root / "mine.csv").write_text('id,text\nu1,hello\n\n"",nobody\n')
    with pytest.raises(UsageError, match="row 4: has no id"):
        read_corpus("custom", None, own(root / "mine.csv"))
    (root / "mine.jsonl").write_text('{"id": "u1", "text": "hello"}\n\n{"text": "nobody"}\n')
    with pytest.raises(UsageError, match="row 3: has no id"):
        read_corpus("custom", None, own(root / "mine.jsonl"))


def test_lines_that_are_not_json_objects(root: Path) -> None:
    (root / "mine.jsonl").write_text('{"id": "u1"\n[1]\n')
    with pytest.raises(UsageError, match=r"(?s)row 1 is not JSON.*row 2 holds list, expected an object"):
        read_corpus("custom", None, own(root / "mine.jsonl"))


def test_a_missing_file_is_excluded_and_an_empty_text_is_kept_for_the_scan(root: Path) -> None:
    rows = [
        {"id": "u1", "audio": "wav/a.wav", "text": "hello"},
        {"id": "u2", "audio": "wav/z.wav", "text": "bye"},
        {"id": "u3", "audio": "wav/b.wav", "text": ""},
    ]
    (root / "mine.csv").write_text(as_csv(rows))
    manifest, _ = read_corpus("custom", None, own(root / "mine.csv"))
    assert manifest.excluded == (Excluded(id="u2", reason="no audio file wav/z.wav", modality="audio"),)
    assert [(u.id, u.audio, u.text) for u in manifest.utterances] == [
        ("u1", "wav/a.wav", "hello"),
        ("u2", None, "bye"),
        ("u3", "wav/b.wav", ""),
    ]


def test_a_missing_clip_without_text_leaves_the_corpus(root: Path) -> None:
    (root / "mine.csv").write_text(as_csv([{"id": "u1", "audio": "wav/a.wav"}, {"id": "u2", "audio": "wav/z.wav"}]))
    manifest, _ = read_corpus("custom", None, own(root / "mine.csv"))
    assert manifest.ids == ["u1"]
    assert manifest.excluded == (Excluded(id="u2", reason="no audio file wav/z.wav", modality="audio"),)


def test_an_empty_text_column_means_no_text(root: Path) -> None:
    (root / "mine.csv").write_text("id,audio,text\nu1,wav/a.wav,\n")
    assert not read_corpus("custom", None, own(root / "mine.csv"))[0].has("text")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.csv", None, r"no manifest .*absent\.csv; pass --manifest FILE"),
        ("mine.xlsx", "id", r"has an unknown file type; valid: \.csv"),
        ("mine.csv", "name,text\na,b\n", "has no column id; it has: name, text"),
        ("mine.csv", "id,text\n", "lists no utterance"),
        ("mine.csv", "id,audio\nu1,wav/z.wav\n", "1 excluded, such as u1: no audio file"),
    ],
)
def test_manifests_that_cannot_be_read(name: str, text: str | None, message: str, root: Path) -> None:
    if text is not None:
        (root / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_corpus("custom", root, own(root / name))


def test_columns_with_other_names_are_listed_with_the_option_that_names_them(root: Path) -> None:
    (root / "table.csv").write_text("key,sound,mood\n1,a.wav,x\n")
    with pytest.raises(UsageError, match=r"no column id; it has: key, sound, mood; .* --columns id=COLUMN"):
        read_corpus("custom", root, ReaderOptions(manifest=root / "table.csv"))
    with pytest.raises(UsageError, match="no column of audio or text: name one, --columns audio=COLUMN"):
        read_corpus("custom", root, ReaderOptions(manifest=root / "table.csv", columns="id=key"))

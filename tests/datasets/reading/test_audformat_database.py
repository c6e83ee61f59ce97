"""audformat databases, written by audEERING's package as nkululeko's users have them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from emofuse.common.errors import DataError, UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.schema import Utterance

audformat = pytest.importorskip("audformat")
pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

FILES = ["wav/03a01Fa.wav", "wav/08a02Na.wav", "wav/09a01Wb.wav"]
GOLD = {"train": (FILES[:1], ["anger"]), "dev": (FILES[1:2], ["neutral"]), "test": (FILES[2:], ["anger"])}


def add(database: Any, table: str, index: Any, **columns: tuple[str | None, list[Any]]) -> None:
    database[table] = audformat.Table(index)
    for name, (scheme, values) in columns.items():
        database[table][name.replace("__", ".")] = audformat.Column(scheme_id=scheme)
        database[table][name.replace("__", ".")].set(values)


def emodb_like() -> Any:
    """A database in the form of Emo-DB's: gold standards per split, and a table of files with speakers and texts."""
    database = audformat.Database("mine", source="me", usage="research", languages=["deu"])
    speakers = {
        3: {"gender": "male", "age": 31},
        8: {"gender": "female", "age": 34},
        9: {"gender": "female", "age": 21},
    }
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "neutral"])
    database.schemes["confidence"] = audformat.Scheme("float")
    database.schemes["speaker"] = audformat.Scheme("int", labels=speakers)
    database.schemes["transcription"] = audformat.Scheme(labels={"a01": "Der Lappen.", "a02": "Das will sie."})
    database.schemes["duration"] = audformat.Scheme("time")
    for split, (files, labels) in GOLD.items():
        add(
            database,
            f"emotion.categories.{split}.gold_standard",
            audformat.filewise_index(files),
            emotion=("emotion", labels),
            emotion__confidence=("confidence", [0.9] * len(files)),
        )
    add(
        database,
        "files",
        audformat.filewise_index(FILES),
        speaker=("speaker", [3, 8, 9]),
        transcription=("transcription", ["a01", "a02", None]),
        duration=("duration", [pd.Timedelta("1s")] * 3),
    )
    return database


def save(database: Any, folder: Path, kind: str = "csv") -> Path:
    database.save(str(folder), storage_format=kind)
    for file in FILES:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    return folder


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_gold_standards_speakers_texts_and_splits(kind: str, tmp_path: Path) -> None:
    root = save(emodb_like(), tmp_path / "db", kind)
    manifest, where = read_corpus("custom", None, ReaderOptions(manifest=root))
    assert where == root
    by_id = {u.id: u for u in manifest.utterances}
    assert by_id["wav/03a01Fa"] == Utterance(
        id="wav/03a01Fa",
        audio="wav/03a01Fa.wav",
        text="Der Lappen.",
        label="anger",
        speaker="3",
        split="train",
        extra={"gender": "male", "age": 31, "confidence": 0.9},
    )
    assert {u.id: (u.split, u.speaker, u.text) for u in manifest.utterances} == {
        "wav/03a01Fa": ("train", "3", "Der Lappen."),
        "wav/08a02Na": ("dev", "8", "Das will sie."),
        "wav/09a01Wb": ("test", "9", None),
    }
    tables = ", ".join(f"emotion.categories.{split}.gold_standard" for split in ("dev", "test", "train"))
    assert manifest.notes == (f"labels are emotion of {tables} in db",)
    assert read_corpus("custom", root)[0] == manifest


def test_segments_have_times(tmp_path: Path) -> None:
    database = emodb_like()
    index = audformat.segmented_index([FILES[0]] * 2, ["0s", "1.5s"], ["1.5s", pd.NaT])
    add(database, "segments", index, mood=(None, ["calm", "cross"]))
    root = save(database, tmp_path / "db")
    manifest, _ = read_corpus("custom", root, ReaderOptions(columns="label=mood"))
    assert [(u.id, u.audio, u.start, u.end, u.label, u.speaker) for u in manifest.utterances] == [
        ("wav/03a01Fa@0-1.5", FILES[0], None, 1.5, "calm", "3"),
        ("wav/03a01Fa@1.5-", FILES[0], 1.5, None, "cross", "3"),
    ]


def test_the_column_of_one_rater(tmp_path: Path) -> None:
    database = emodb_like()
    add(
        database,
        "raters",
        audformat.filewise_index(FILES),
        ann=("emotion", ["anger", "anger", "neutral"]),
        bob=("emotion", ["anger", "neutral", "neutral"]),
    )
    root = save(database, tmp_path / "db")
    manifest, _ = read_corpus("custom", root, ReaderOptions(columns="label=bob"))
    assert [u.label for u in manifest.utterances] == ["anger", "neutral", "neutral"]
    assert "emotion is left out: it has several values for one clip" in manifest.notes


def test_a_choice_that_only_the_user_can_make_lists_what_there_is(tmp_path: Path) -> None:
    database = emodb_like()
    add(database, "first", audformat.filewise_index(FILES), mood=(None, ["a", "b", "c"]))
    add(database, "second", audformat.filewise_index(FILES), mood=(None, ["a", "b", "d"]))
    add(database, "parts", audformat.segmented_index([FILES[0]], ["0s"], ["1s"]), state=(None, ["x"]))
    add(database, "wholes", audformat.filewise_index(FILES[:1]), state=(None, ["x"]))
    root = save(database, tmp_path / "db")
    cases = {
        ("label=mood", None): r"label one clip differently in 'mood': choose with --tables; tables: first, second",
        ("label=state", None): r"choose with --tables; tables: parts \(segmented\), wholes \(filewise\)",
        ("label=mood", "first,files"): r"no table files with labels 'mood'; valid: first, second",
        ("label=nothing", None): r"has no column nothing; it has: confidence, emotion, speaker, transcription, gender",
    }
    for (columns, tables), message in cases.items():
        with pytest.raises(UsageError, match=message):
            read_corpus("custom", root, ReaderOptions(columns=columns, tables=tables))
    second, _ = read_corpus("custom", root, ReaderOptions(columns="label=mood", tables="second"))
    assert [u.label for u in second.utterances] == ["a", "b", "d"]


def test_without_a_scheme_that_looks_like_labels_one_must_be_named(tmp_path: Path) -> None:
    database = audformat.Database("mine", source="me", usage="research")
    add(database, "all", audformat.filewise_index(FILES), stress=(None, ["low", "high", "low"]))
    root = save(database, tmp_path / "db")
    with pytest.raises(UsageError, match="pass --columns label=SCHEME, the scheme of the labels; schemes: stress"):
        read_corpus("custom", root)
    labels = [u.label for u in read_corpus("custom", root, ReaderOptions(columns="label=stress"))[0].utterances]
    assert labels == ["low", "high", "low"]


class _Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_pickled_tables_are_never_loaded(tmp_path: Path) -> None:
    root, mark = save(emodb_like(), tmp_path / "db"), tmp_path / "run"
    (root / "db.files.pkl").write_bytes(pickle.dumps(_Payload(mark)))
    assert len(read_corpus("custom", root)[0]) == 3
    (root / "db.files.csv").unlink()
    with pytest.raises(UsageError, match=r"files exist as pickles alone, .* If you trust them: python -c"):
        read_corpus("custom", root)
    assert not mark.exists()


def test_a_header_that_would_run_code_is_refused(tmp_path: Path) -> None:
    root, mark = save(emodb_like(), tmp_path / "db"), tmp_path / "run"
    with (root / "db.yaml").open("a") as header:
        header.write(f"meta: !!python/object/apply:os.mkdir ['{mark}']\n")
    with pytest.raises(DataError, match=r"db\.yaml cannot be read: could not determine a constructor"):
        read_corpus("custom", root)
    assert not mark.exists()


@pytest.mark.parametrize("damage", ["header", "table", "no table"])
def test_damaged_databases(damage: str, tmp_path: Path) -> None:
    root = save(emodb_like(), tmp_path / "db", "parquet")
    if damage == "header":
        (root / "db.yaml").write_text("- a\n")
    elif damage == "table":
        (root / "db.files.parquet").write_bytes(b"PAR1")
    else:
        (root / "db.files.parquet").unlink()
    with pytest.raises(
        DataError, match="is no header of an audformat database" if damage == "header" else "is damaged"
    ):
        read_corpus("custom", root)


def test_a_label_that_states_an_id_is_no_name_of_a_clip(tmp_path: Path) -> None:
    database = emodb_like()
    database.schemes["emotion"].replace_labels({"anger": {"id": 0, "file": "a"}, "neutral": {"id": 1, "file": "b"}})
    root = save(database, tmp_path / "db")
    manifest, _ = read_corpus("custom", root)
    assert {u.id for u in manifest.utterances} == {file.removesuffix(".wav") for file in FILES}
    assert {u.audio for u in manifest.utterances} == {*FILES}


def test_labels_that_no_table_has(tmp_path: Path) -> None:
    database = emodb_like()
    database.schemes["unused"] = audformat.Scheme("float")
    root = save(database, tmp_path / "db")
    with pytest.raises(UsageError, match="no table has 'unused': name other labels"):
        read_corpus("custom", root, ReaderOptions(columns="label=unused"))

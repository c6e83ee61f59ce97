"""Which of a user's columns is which field: what `--columns` says, and what is recognised."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.reading.column_names import ColumnNames
from emofuse.datasets.registry import read_corpus


def test_every_mistake_is_named() -> None:
    with pytest.raises(UsageError) as error:
        ColumnNames.parse("lable=a,text,label=b,label=c,speaker=b,split=")
    assert [line.removeprefix("  - ") for line in str(error.value).split("\n")[1:]] == [
        "no field 'lable'; valid: id, audio, start, end, text, label, speaker, session, dialogue, turn, split",
        "'text' is not FIELD=COLUMN",
        "label=c: label or c is named twice",
        "speaker=b: speaker or b is named twice",
        "'split=' is not FIELD=COLUMN",
    ]


def test_named_columns_come_first_and_usual_names_fill_the_rest() -> None:
    columns = ["file", "emotion", "label", "transcription", "speaker_id", "session"]
    assert ColumnNames.parse("label=emotion").recognised(columns, "it") == {
        "label": "emotion",
        "audio": "file",
        "text": "transcription",
        "speaker": "speaker_id",
        "session": "session",
    }
    with pytest.raises(UsageError, match="it has no column mood; it has: file, emotion"):
        ColumnNames.parse("label=mood").recognised(columns, "it")


def test_columns_may_change_places_and_a_replaced_one_is_left_out() -> None:
    row = {"id": "u1", "label": "x", "text": "y", "mood": "z"}
    assert ColumnNames.parse("label=text,text=label").renamed(row) == {
        "id": "u1",
        "label": "y",
        "text": "x",
        "mood": "z",
    }
    assert ColumnNames.parse("label=mood").renamed(row) == {"id": "u1", "text": "y", "label": "z"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.csv", "key,said,emotion\nu1,hello,joy\n"),
        ("mine.jsonl", '{"key": "u1", "said": "hello", "emotion": "joy"}\n'),
    ],
)
def test_csv_and_json_lines_with_other_names(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    options = ReaderOptions(manifest=tmp_path / name, columns="id=key,text=said,label=emotion")
    (utterance,) = read_corpus("custom", None, options)[0].utterances
    assert (utterance.id, utterance.text, utterance.label, dict(utterance.extra)) == ("u1", "hello", "joy", {})
    with pytest.raises(UsageError, match="has no column mood; it has: key, said, emotion"):
        read_corpus("custom", None, ReaderOptions(manifest=tmp_path / name, columns="id=key,label=mood"))
    with pytest.raises(UsageError, match=rf"--tables has no effect: .*{name} is not an audformat database"):
        read_corpus("custom", None, ReaderOptions(manifest=tmp_path / name, tables="a"))

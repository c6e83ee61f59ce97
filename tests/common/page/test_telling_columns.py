"""The columns that a table shows: those that tell its rows apart."""

from __future__ import annotations

from emofuse.common.page.blocks import ClassName, Column, Marks, Sound
from emofuse.common.page.columns import telling_columns

COLUMNS = [Column(name=name) for name in ("id", "label", "level", "marks", "clipped %", "audio")]


def test_empty_and_constant_columns_are_left_out_and_named() -> None:
    rows = [
        ("a", ClassName(name="sad"), -20.0, None, 0.0, Sound(href="a.wav")),
        ("b", ClassName(name="joy"), -20.0, None, 0.0, Sound(href="b.wav")),
    ]
    columns, kept, sentence = telling_columns(COLUMNS, rows)
    assert [column.name for column in columns] == ["id", "label", "audio"]
    assert kept[1] == ("b", ClassName(name="joy"), Sound(href="b.wav"))
    assert sentence == "The same in all rows: level (-20.0), clipped % (0.0)."


def test_a_column_with_some_empty_cells_and_the_first_column_are_kept() -> None:
    rows = [("a", None, 1, None), ("a", None, 1, Marks(names=("clipped",)))]
    columns, _, sentence = telling_columns(COLUMNS[:4], rows)
    assert ([column.name for column in columns], sentence) == (["id", "marks"], "The same in all rows: level (1).")


def test_one_row_keeps_what_is_known() -> None:
    columns, kept, sentence = telling_columns(COLUMNS[:3], [("a", None, 1)])
    assert ([column.name for column in columns], kept, sentence) == (["id", "level"], [("a", 1)], "")
    assert telling_columns(COLUMNS[:2], []) == ([COLUMNS[0]], [], "")

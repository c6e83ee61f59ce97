"""What a page makes of the columns of a table."""

from __future__ import annotations

from emofuse.common.page.blocks import ClassName, Column, PagedTable, Table
from emofuse.common.page.columns import LONGEST_TEXT, filled_columns, spoken, stacks, with_constants_in_caption

NAMES = ("id", "score", "interval", "seeds", "fold")


def test_columns_without_content_are_left_out() -> None:
    empty = [None, "", float("nan")]
    columns, rows = filled_columns([(Column(name="id"), ["a", "b", "c"]), (Column(name="p"), empty),
                                    (Column(name="n"), [None, 0, 1])])  # fmt: skip
    assert [column.name for column in columns] == ["id", "n"]
    assert rows == [["a", None], ["b", 0], ["c", 1]]
    assert filled_columns([(Column(name="id"), [])]) == ([], [])


def test_columns_below_others_share_their_cell() -> None:
    columns = [Column(name=name, below=name in ("interval", "seeds")) for name in NAMES]
    assert stacks(columns) == [[0], [1, 2, 3], [4]]
    assert stacks([Column(name="first", below=True)]) == [[0]]


def test_what_all_rows_have_is_said_in_the_caption() -> None:
    columns = [Column(name="id"), Column(name="class", once=True), Column(name="n", once=True), Column(name="m")]
    rows = [["a", ClassName(name="sad"), 3, 1], ["b", ClassName(name="sad"), 4, 1]]
    shown = with_constants_in_caption(PagedTable(name="t", title="t", columns=columns, rows=rows, caption="All."))
    assert [column.name for column in shown.columns] == ["id", "n", "m"]
    assert shown.rows == [["a", 3, 1], ["b", 4, 1]]
    assert shown.caption == "All. The same in all rows: class (sad)."


def test_a_single_row_and_other_totals_keep_a_column() -> None:
    columns = [Column(name="id"), Column(name="n", once=True)]
    one = Table(name="t", title="t", columns=columns, rows=[["a", 3]])
    assert with_constants_in_caption(one) is one
    totals = Table(name="t", title="t", columns=columns, rows=[["a", 3], ["b", 3]], totals=[["sum", 6]])
    assert with_constants_in_caption(totals) is totals


def test_what_was_said_is_one_short_line() -> None:
    assert spoken(None) is None
    assert spoken(" I am\n fine. ") == "I am fine."
    assert len(spoken("x" * 1000) or "") == LONGEST_TEXT

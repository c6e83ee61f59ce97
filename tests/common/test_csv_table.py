"""Cells that spreadsheets cannot run, and that read back exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofuse.common.disk.csv_table import csv_text, escaped, parse_csv, unescaped
from emofuse.common.disk.run_folder import read_csv, write_csv


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'=1", "''=1"),
        ("'tis", "'tis"),
        ("it's", "it's"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("-inf", "-inf"),
        ("'-0.5", "'-0.5"),
        ("", ""),
        (-0.5, -0.5),
    ],
)
def test_texts_that_a_spreadsheet_runs_get_an_apostrophe_and_numbers_do_not(value: object, cell: object) -> None:
    assert escaped(value) == cell
    assert unescaped(str(cell)) == str(value)


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(st.sampled_from("'=+-@\t\r\n,\";a0.eé ") | characters)


@given(st.lists(st.dictionaries(st.sampled_from(["id", "=x", "'=x"]), texts, min_size=3), min_size=1))
def test_every_table_reads_back_exactly(rows: list[dict[str, str]]) -> None:
    assert parse_csv(csv_text(rows))[1] == [{name: row[name] for name in rows[0]} for row in rows]


@given(texts)
def test_no_cell_starts_a_formula(text: str) -> None:
    cell = escaped(text)
    assert not cell.startswith(tuple("=+-@\t\r")) or float(cell) is not None


def test_files_are_written_and_read_that_way(tmp_path: Path) -> None:
    rows = [{"id": "=HYPERLINK(1)", "fold": "1", "p_ang": "-0.25"}]
    write_csv(tmp_path / "x.csv", rows)
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == "'=HYPERLINK(1),1,-0.25"
    assert read_csv(tmp_path / "x.csv") == rows

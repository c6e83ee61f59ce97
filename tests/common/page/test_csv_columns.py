"""Tables of pages as CSV: one number in each cell, and LaTeX that keeps what the page says."""

from __future__ import annotations

import csv
import io

from emofuse.common.page.blocks import Cell, ClassName, Column, Spark, Table
from emofuse.common.page.export import table_text


def rows_of(*columns: tuple[Column, list[Cell]]) -> list[dict[str, str]]:
    table = Table(
        name="t",
        title="t",
        columns=[column for column, _ in columns],
        rows=list(zip(*(cells for _, cells in columns), strict=True)),
    )
    return list(csv.DictReader(io.StringIO(table_text(table, "csv"))))


def test_a_cell_with_several_numbers_becomes_columns() -> None:
    first, second, third = rows_of(
        (Column(name="row"), ["mean ± std", "95 % interval", "1–2"]),
        (Column(name="UA"), ["0.698 ± 0.002", "0.658–0.740", "-"]),
        (Column(name="points"), ["-1.2 to +2.3", "+0.1 to +2.0", ""]),
        (Column(name="n"), ["2,228,108", 3, None]),
    )
    assert first == {
        "row": "mean ± std", "UA": "0.698", "UA std": "0.002", "UA low": "", "UA high": "",
        "points low": "-1.2", "points high": "+2.3", "n": "2228108",
    }  # fmt: skip
    assert (second["UA"], second["UA low"], second["UA high"]) == ("", "0.658", "0.740")
    assert (second["points high"], second["n"]) == ("+2.0", "3")
    assert third == dict.fromkeys(first, "") | {"row": "1–2"}, "text stays, and - is an empty cell"


def test_the_values_of_a_small_chart_are_columns() -> None:
    sparks: list[Cell] = [Spark(key="0", alt="by fold", values={"UA of fold 1": 0.5, "UA of fold 2": 0.25}), None]
    assert rows_of((Column(name="model"), [ClassName(name="smcn"), "lmf"]), (Column(name="folds"), sparks)) == [
        {"model": "smcn", "UA of fold 1": "0.5", "UA of fold 2": "0.25"},
        {"model": "lmf", "UA of fold 1": "", "UA of fold 2": ""},
    ]


def test_options_in_latex_keep_their_hyphens() -> None:
    table = Table(name="t", title="Scores", columns=[Column(name="a")], rows=[["--limit"]])
    text = table_text(table, "latex", "Short run (--allow-missing ---).")
    assert "Scores. Short run (-{}-allow-missing -{}-{}-)." in text
    assert r"-{}-limit \\" in text

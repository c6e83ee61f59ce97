"""A table's TOML file: the tasks of its rows, and a message for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from papers_printed import COLUMNS

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.train.papers import published_table as tables
from emofuse.train.papers.published_table import Table


def test_a_row_runs_on_the_tasks_with_figures_or_on_all_without_any() -> None:
    smcn = tables.load("smcn-table3")
    assert {r.tasks for r in smcn.rows} == {("iemocap4", "meld7")}
    raw = minimal()
    raw["tasks"].append({"protocol": "meld7", "metrics": {"Acc": "wa"}})
    raw["rows"].append({"name": "Other [1]", "cited": True, "published": {"meld7": {"Acc": 60.0}}})
    raw["rows"].append({"name": "Told", "tasks": ["meld7"]})
    table = tables.parse("mine", raw)
    assert [r.tasks for r in table.rows] == [("iemocap4", "meld7"), ("meld7",), ("meld7",)]
    assert table.tasks[1].select == "validation"


def test_an_unknown_row_lists_those_that_can_be_run() -> None:
    with pytest.raises(UnknownNameError, match="no row of smcn-table1 named 'smcn'") as caught:
        tables.load("smcn-table1").row("smcn")
    assert str(caught.value).endswith("Valid: A-LSTM (re-run), CME (re-run), GBAN (re-run), SMCN.")


def test_an_unknown_table_lists_all() -> None:
    with pytest.raises(UnknownNameError, match="no table named 'smcn-table9'") as caught:
        tables.load("smcn-table9")
    assert all(name in str(caught.value) for name in COLUMNS)
    assert "reproduce --list" in str(caught.value)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken-table1.toml").write_text("paper = \n", encoding="utf-8")
    monkeypatch.setattr(tables, "__file__", str(tmp_path / "table.py"))
    with pytest.raises(UsageError, match=r"broken-table1\.toml is not TOML"):
        tables.load("broken-table1")


def minimal() -> dict[str, Any]:
    """The smallest valid table."""
    return {
        "paper": "A. Author, A Paper",
        "where": "Table 1",
        "about": "comparison",
        "unit": "percent",
        "model": "smcn",
        "tasks": [{"protocol": "iemocap4", "metrics": {"WA": "wa", "UA": "ua"}}],
        "rows": [{"name": "Mine"}],
    }


MISTAKES = [
    ("unit", "permille", "unit is 'permille'; valid: fraction, percent"),
    ("paper", 3, "paper is 3, expected text"),
    ("author", "me", "unknown key author; known: about, figure, "),
    ("notes", "one", "notes is 'one', expected a list"),
    ("figure", {"kind": "bars"}, "figure.kind is 'bars'; valid: line, grid, tsne"),
    ("figure", {"kind": "line", "across": {}}, "unknown key figure.across; known: kind, over"),
    ("figure", {"kind": "line", "over": {"tokens": ["2"]}}, "figure.over.tokens, item 1, is '2', expected a number"),
    (
        "tasks.0.metrics",
        {"F1": "f1"},
        "no metric named 'f1'; valid: wa, ua, wf1, macro_f1, micro_f1, mcc, recall",
    ),
    ("tasks.0.select", "best", "select is 'best'; valid: validation, last"),
    ("tasks.0.corpus", "iemocap", "unknown key tasks, item 1, corpus; known: features, metrics, protocol, select"),
    ("rows.0.published", {"meld7": {"Acc": 1.0}}, "row 'Mine' has figures for 'meld7', which is not a task"),
    ("rows.0.published", {"iemocap4": {"ACC": 1.0}}, "row 'Mine': no column 'ACC'"),
    ("rows.0.published", {"iemocap4": {"WA": "76"}}, "rows, item 1, published.iemocap4.WA is '76', expected a number"),
    ("rows.0.tasks", ["meld7"], "row 'Mine': no task 'meld7'"),
    ("rows.0.settings", ["lr=1"], "unknown key rows, item 1, settings; known: ablation, cited, features, model, "),
    ("rows.0.cited", "yes", "rows, item 1, cited is 'yes', expected true or false"),
    ("model", "", "row 'Mine' has no model"),
    ("mean", {"of": ["iemocap4", "meld7"], "metrics": {"Mean": "wa"}}, "mean.of has 'meld7', which is not a task"),
    ("mean", {"of": ["iemocap4"], "metrics": {"Mean": "wa"}}, "mean.of: expected two tasks or more"),
    ("mean", {"of": ["iemocap4"] * 2}, "mean.metrics: expected a column"),
    ("mean", {"of": ["iemocap4"] * 2, "metrics": {"F": "wf1"}}, "mean.metrics: iemocap4 has no column of 'wf1'"),
    ("rows", [{"name": "Mine"}, {"name": "Mine"}], "row 'Mine' occurs 2 times"),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_each_mistake_is_reported(place: str, value: Any, message: str) -> None:
    raw = minimal()
    assert isinstance(tables.parse("mine", minimal()), Table)
    inner: Any = raw
    *path, last = place.split(".")
    for step in path:
        inner = inner[int(step) if step.isdigit() else step]
    inner[last] = value
    with pytest.raises(UsageError) as caught:
        tables.parse("mine", raw)
    assert str(caught.value).startswith(f"mine is wrong: {message}")


@pytest.mark.parametrize("key", ["paper", "where", "about", "unit", "tasks", "rows"])
def test_a_missing_key_is_reported(key: str) -> None:
    raw = minimal()
    del raw[key]
    with pytest.raises(UsageError) as caught:
        tables.parse("mine", raw)
    assert str(caught.value) == f"mine is wrong: {key!r} is missing"


def test_all_mistakes_are_reported_at_once() -> None:
    raw = minimal() | {"unit": "permille", "model": ""}
    raw["rows"] = [{"name": "Mine"}, {"name": "Other [1]", "cited": True, "published": {"meld7": {"WA": 1.0}}}]
    with pytest.raises(UsageError) as caught:
        tables.parse("mine", raw)
    lines = str(caught.value).splitlines()
    assert lines[0] == "mine is wrong:"
    # A cited row needs no model, but its figures need a task.
    assert lines[1:] == [
        "  - unit is 'permille'; valid: fraction, percent",
        "  - row 'Mine' has no model",
        "  - row 'Other [1]' has figures for 'meld7', which is not a task",
    ]

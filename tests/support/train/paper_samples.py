"""A table on the small corpus, and calls of reproduce, for the tests of the papers' tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emofuse.train.papers.published_table import Table
from emofuse.train.papers.reproduce import reproduce
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.table_request import TableRequest

TINY = ("lr=0.01", "hidden=8", "batch=16")


QUIET = {"seeds": 1, "steps": 4, "device": "cpu"}


def raw(folder: Path, **changes: Any) -> dict[str, Any]:
    """The content of a table's TOML file; keys may be changed."""
    protocol = str(folder / "tiny4.toml")
    figures: Mapping[str, Any] = {protocol: {"UA": 62.7, "WA": 59.9}}
    return {
        "paper": "A Paper",
        "where": "Table 9",
        "about": "an ablation",
        "unit": "percent",
        "model": "smcn",
        "notes": ["A note & more_of it."],
        "tasks": [
            {"protocol": protocol, "metrics": {"UA": "ua", "WA": "wa"}, "features": {"audio": "logmel", "text": "bert"}}
        ],
        "rows": [
            {"name": "Somebody [1]", "cited": True, "published": figures},
            {"name": "Audio", "ablation": "Audio", "set": list(TINY), "published": figures},
            {"name": "SMCN", "set": list(TINY), "published": {protocol: {"UA": 77.6}}, "note": "the whole"},
        ],
    } | changes


def request(folder: Path, table: Table, **changes: Any) -> TableRequest:
    """A short run of a table on the store in `folder`; options may be changed."""
    return TableRequest(
        **({"table": table, "stores": (folder / "tiny.h5",), "runs": folder / "runs"} | QUIET | changes)
    )


def run(call: TableRequest) -> tuple[ResultTable, Path, list[str]]:
    """The results, their folder, and the reported lines."""
    lines: list[str] = []
    made = reproduce(call, lines.append)
    results, where = made.results, made.folder
    return results, where, lines


def same_runs(one: Path, other: Path) -> None:
    """Two folders of runs have equal predictions and weights."""
    files = [
        {
            p.relative_to(runs): p.read_bytes()
            for p in runs.rglob("*")
            if p.name in ("predictions.csv", "model.safetensors")
        }
        for runs in (one, other)
    ]
    assert len(files[0]) >= 10
    assert files[0] == files[1]

"""A table over the small corpus, and calls of reproduce, for the tests of the papers' tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.train.papers.reproduce import reproduce
from emofuse.train.papers.request import TableRequest
from emofuse.train.papers.results import Sheet
from emofuse.train.papers.table import Table

TINY = ("lr=0.01", "hidden=8", "batch=16")


QUIET = {"seeds": 1, "steps": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reproduce")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def raw(folder: Path, **changes: Any) -> dict[str, Any]:
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
    return TableRequest(
        **({"table": table, "stores": (folder / "tiny.h5",), "runs": folder / "runs"} | QUIET | changes)
    )


def run(asked: TableRequest) -> tuple[Sheet, Path, list[str]]:
    said: list[str] = []
    sheet, where = reproduce(asked, said.append)
    return sheet, where, said


def same_runs(one: Path, other: Path) -> None:
    """Equal predictions and weights, of the same rows."""
    found = [
        {
            p.relative_to(runs): p.read_bytes()
            for p in runs.rglob("*")
            if p.name in ("predictions.csv", "model.safetensors")
        }
        for runs in (one, other)
    ]
    assert len(found[0]) >= 10
    assert found[0] == found[1]

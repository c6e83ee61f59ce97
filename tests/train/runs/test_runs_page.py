"""docs/reference/runs.md names every file, key and column that `fit` and `evaluate` write."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples
from paths import ROOT
from train_samples import config, quietly

from emofuse.train import evaluate

ELSEWHERE = {"protocol", "settings", "fingerprint", "provenance", "command"}
"""The keys whose content other pages describe."""
BY_NAME = {
    *("definitions", "recall", "per_class", "per_seed", "speaker", "session", "gender", "worst_groups", "temperature"),
    *(
        "labels",
        "left_out",
        "weights",
        "files",
        "features",
        "without",
        "stores",
        "dtypes",
        "encoder_seconds",
        "excluded",
        "versions",
    ),
}
"""The keys whose values are by class, speaker, seed, modality, file and so on: those names are not keys."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated run with a final model, a shuffled one of two seeds, and an evaluation of the first."""
    folder = tmp_path_factory.mktemp("page")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    options = {"folds": "1,2", "calibrate": "temperature", "final": True, "optimism": True}
    full = quietly(config(folder, "full", "concat", steps=3, **options))
    quietly(config(folder, "shuffled", "text", steps=2, folds="1,2", seeds=2, limit=40, shuffle=["labels"]))
    other = tuple(replace(u, id=f"other_{u.id}") for u in samples.utterances(per_session=8))
    store = samples.store(folder / "other.h5", other, corpus="other")
    evaluate(run=full, store=store, out=folder / "evaluated", say=lambda line: None)
    return folder


def keys(value: Any, parent: str = "") -> Iterator[str]:
    """The keys of a JSON value and all values in it."""
    if isinstance(value, dict):
        yield from value if parent not in BY_NAME else ()
        for key, item in value.items():
            if key not in ELSEWHERE:
                yield from keys(item, key if parent not in BY_NAME else "")
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def written(folder: Path) -> Iterator[str]:
    for path in [p for run in ("full", "shuffled", "evaluated") for p in (folder / run).rglob("*") if p.is_file()]:
        if path.parent.name != "checkpoints":
            yield path.name
        if path.suffix == ".json":
            yield from keys(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            for column in next(csv.reader(path.read_text().splitlines())):
                named = re.sub(r"^((?:calibrated_)?p_).+", r"\1CLASS", column)
                yield re.sub("^validation_(?!loss)(.+)", "validation_METRIC", named)


@pytest.mark.slow
def test_every_file_key_and_column_is_named_on_the_page(folder: Path) -> None:
    page = set(re.findall(r"`([^`]+)`", (ROOT / "docs" / "reference" / "runs.md").read_text(encoding="utf-8")))
    found = set(written(folder))
    assert {"calibration.json", "calibrated_p_CLASS", "fitted_on", "shared_audio", "evaluated_run", "f1"} <= found
    assert found - page == set()

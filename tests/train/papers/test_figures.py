"""The papers' figures from finished runs: a grid chosen on validation, t-SNE panels, a line over a setting."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import scores
from emofuse.train.papers.figures.finished_folds import finished_folds
from emofuse.train.papers.published_table import parse
from emofuse.train.papers.reproduce import reproduce
from emofuse.train.papers.row_jobs import plan_fits_of_table
from emofuse.train.papers.table_request import TableRequest

pytestmark = pytest.mark.charts

SMALL = ["width=8", "heads=2", "units=8", "batch=16", "lr=0.01"]
PNG = b"\x89PNG"


def request(folder: Path, figure: dict[str, Any], rows: list[dict[str, Any]], model: str = "mcfn") -> TableRequest:
    protocol = str(folder / "tiny4.toml")
    features = {"audio": "logmel", "text": "bert"}
    raw = {
        **{"paper": "A Paper", "where": "Figure 9", "about": "a figure", "unit": "percent", "model": model},
        "tasks": [{"protocol": protocol, "metrics": {"UA": "ua"}, "features": features}],
        "rows": rows,
        "figure": figure,
    }
    return TableRequest(
        table=parse("tiny-figure9", raw), stores=(folder / "tiny.h5",), runs=folder, folds="1,2", steps=6, device="cpu"
    )


def test_the_grid_point_is_selected_on_validation_and_mixes_the_three_classifiers(folder: Path) -> None:
    over = {"alpha": [0.1, 0.5], "beta": [0.1, 0.5]}
    call = request(folder, {"kind": "grid", "over": over}, [{"name": "Proposed", "set": SMALL}])
    made = reproduce(call, lambda line: None)
    results, where = made.results, made.folder
    (job,) = plan_fits_of_table(call).jobs
    points = [(a, b) for a in over["alpha"] for b in over["beta"]]
    picked = json.loads((where / "grid-selection.json").read_text())["alpha and beta"]
    honest, optimistic = [], []
    with finished_folds(job) as folds:
        for found in folds:
            sides = {}
            for side, indices in (("validation", found.validation), ("test", found.test)):
                s, t, st = (found.outputs(indices, lambda o, k=k: o.aux[k]) for k in ("p_s", "p_t", "p_st"))
                guesses = [(a * s + b * t + (1 - a - b) * st).argmax(1) for a, b in points]
                sides[side] = [scores(found.labels[indices], g)["ua"] for g in guesses]
            best = int(np.argmax(sides["validation"]))
            assert tuple(picked[f"seed 0 fold {found.fold.number}"]) == points[best]
            honest.append(100 * sides["test"][best])
            optimistic.append(sides["test"])
    top = 100 * np.mean(optimistic, axis=0).max()
    message = next(r for r in results.remarks if "Weights chosen" in r)
    assert f"UA {np.mean(honest):.1f} ± {np.std(honest, ddof=1):.1f}" in message
    assert f"never a score: {top:.1f}" in message
    rows = list(csv.DictReader((where / "grid.csv").open()))
    assert [(float(r["alpha"]), float(r["beta"])) for r in rows] == points
    assert (where / "figure.png").read_bytes().startswith(PNG)
    assert message in (where / "table.md").read_text()
    html = (where / "table.html").read_text()
    alt = re.search(r'aria-label="(Mean validation UA[^"]*)"', html)
    assert alt
    assert all(f"alpha {a:g} beta {b:g}" in alt[1] for a, b in picked.values()), "the selected points are in words too"
    values = [f"{100 * float(r['validation_ua']):.1f}" for r in rows]
    assert all(value in html for value in values), "numbers stand in the cells"


def test_a_figure_in_other_formats_says_what_differs_from_the_paper(folder: Path) -> None:
    rows = [{"name": "MCFN", "set": SMALL}]
    call = replace(request(folder, {"kind": "tsne"}, rows), formats=("svg", "pdf"), runs=folder / "formats")
    where = reproduce(call, lambda line: None).folder
    svg = (where / "figure.svg").read_text()
    assert "NOT the paper" in svg
    assert "short run (--steps 6)" in svg
    assert (where / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert not (where / "figure.png").exists()


def test_a_format_of_a_table_without_a_figure_is_refused_before_training(folder: Path) -> None:
    call = request(folder, {"kind": "tsne"}, [{"name": "MCFN", "set": SMALL}])
    call = replace(call, table=replace(call.table, figure=None), formats=("png", "svg"), runs=folder / "refused")
    with pytest.raises(UsageError, match="tiny-figure9 draws no figure, so --format has no effect; mcfn-figure2"):
        reproduce(call, lambda line: None)
    assert not call.runs.exists()


def test_panels_hold_every_test_utterance_of_the_first_fold(folder: Path) -> None:
    rows = [{"name": "w/o DAB", "ablation": "w/o DAB", "set": SMALL}, {"name": "MCFN", "set": SMALL}]
    where = reproduce(request(folder, {"kind": "tsne"}, rows), lambda line: None).folder
    points = list(csv.DictReader((where / "tsne.csv").open()))
    tested = {u.id for u in samples.utterances() if u.session == "1"}
    for panel in ("w/o DAB", "MCFN"):
        assert {p["id"] for p in points if p["panel"] == panel} == tested
    labels = {u.id: u.label for u in samples.utterances()}
    assert all(p["label"] == labels[p["id"]] for p in points)
    assert len({(p["x"], p["y"]) for p in points}) > len(tested)
    assert (where / "figure.png").read_bytes().startswith(PNG)


def test_a_line_is_drawn_over_the_setting_that_the_rows_vary(folder: Path) -> None:
    rows = [{"name": f"phi_1 {n}", "set": ["hidden=8", f"batch={n}"]} for n in (8, 16)]
    call = request(folder, {"kind": "line", "over": {"batch": [8, 16]}}, rows, model="smcn")
    where = reproduce(call, lambda line: None).folder
    assert (where / "figure.png").read_bytes().startswith(PNG)
    html = (where / "table.html").read_text()
    assert re.search(r'aria-label="A figure\. UA: [\d.]+ at 8, [\d.]+ at 16\."', html)
    assert html.count("<figure>") == 1

"""Records of runs that nobody trained: any number of classes, utterances, folds and seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from emofuse.manifests.metrics.scores import METRICS, mean_and_deviation
from emofuse.manifests.targets.target import Target
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.scored_predictions import ScoredPredictions, details


def record(
    classes: int = 4, utterances: int = 60, folds: int = 2, seeds: int = 1, *, probabilities: bool = True
) -> RunRecord:
    """A run whose model knows half of the labels; class 0 is never predicted, speakers are `s0` to `s5`."""
    names = [f"class {i}" for i in range(classes)]
    about = [{"id": f"u{i:05d}", "speaker": f"s{i % 6}", "session": "", "gender": ""} for i in range(utterances)]
    predictions = {seed: _predictions(names, utterances, folds, seed) for seed in range(seeds)}
    scored = {
        seed: ScoredPredictions.read(Target(classes=tuple(names)), rows, about) for seed, rows in predictions.items()
    }
    each = {seed: _metrics(names, scored[seed], predictions[seed], seed) for seed in scored}
    shown = _over_seeds(each, list(scored.values())) if seeds > 1 else each[0]
    rows = [
        ({"seed": str(seed)} if seeds > 1 else {}) | (row if probabilities else _without_probabilities(row))
        for seed, of_seed in predictions.items()
        for row in of_seed
    ]
    history = [
        ({"seed": str(seed)} if seeds > 1 else {})
        | {"fold": str(fold), "step": str(step), "train_loss": "1.0", "validation_loss": "1.1", "validation_ua": "0.4"}
        for seed in range(seeds)
        for fold in range(1, folds + 1)
        for step in range(5, 55, 5)
    ]
    return RunRecord(
        name="run", metrics=shown, config=_config(names, seeds), predictions=rows, utterances=about, history=history,
        parameters=1234, seed_metrics=each,
    )  # fmt: skip


def with_metrics(of: RunRecord, **changes: Any) -> RunRecord:
    """The record with other keys in metrics.json."""
    return replace(of, metrics={**of.metrics, **changes})


def _predictions(names: list[str], utterances: int, folds: int, seed: int) -> list[dict[str, str]]:
    rng, rows = np.random.default_rng(seed), []
    labels = np.random.default_rng(99).integers(0, len(names), utterances)
    for i, label in enumerate(labels.tolist()):
        p = rng.dirichlet(np.full(len(names), 0.5))
        p[0] = 0
        top = int(p.argmax())
        if label and rng.random() < 0.5:
            p[[label, top]] = p[[top, label]]
        row = {"id": f"u{i:05d}", "fold": str(i % folds + 1), "label": names[label], "prediction": names[p.argmax()]}
        rows.append(row | {f"p_{c}": f"{v:.6f}" for c, v in zip(names, p / p.sum(), strict=True)})
    return rows


def _without_probabilities(row: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in row.items() if not key.startswith("p_")}


def _metrics(names: list[str], scored: ScoredPredictions, rows: list[dict[str, str]], seed: int) -> dict[str, Any]:
    fold_of = np.array([row["fold"] for row in rows])
    folds = [
        {
            "fold": int(fold), "name": f"part {fold}", "step": 20, "predicts_only": None,
            "utterances": {"train": 100, "validation": 10, "test": int((fold_of == fold).sum())},
            "test": scored.where(fold_of == fold).values(),
        }
        for fold in sorted(set(fold_of))
    ]  # fmt: skip
    mean, std = mean_and_deviation([fold["test"] for fold in folds])
    interval = {"unit": "speaker", "units": 6, "inner_unit": None, "trusted": True, "ua": [0.3, 0.7], "wa": [0.3, 0.7]}
    return {
        "protocol": "made", "model": "none", "seed": seed, "classes": names, "metrics": ["ua", "wa"],
        "definitions": METRICS, "folds": folds, "mean": mean, "std": std, "pooled": scored.values(),
        "interval": interval, "wall_seconds": 12.0, **details([scored]),
    }  # fmt: skip


def _over_seeds(each: dict[int, dict[str, Any]], scored: list[ScoredPredictions]) -> dict[str, Any]:
    mean, std = mean_and_deviation([m["mean"] for m in each.values()])
    pooled, pooled_std = mean_and_deviation([m["pooled"] for m in each.values()])
    kept = {key: value for key, value in each[0].items() if key not in ("seed", "folds")}
    per_seed = {str(s): {"mean": m["mean"], "pooled": m["pooled"], "one_class_folds": []} for s, m in each.items()}
    return kept | {
        "seeds": list(each), "per_seed": per_seed, "mean": mean, "std": std, "pooled": pooled,
        "pooled_std": pooled_std, **details(scored),
    }  # fmt: skip


def _config(names: list[str], seeds: int) -> dict[str, Any]:
    protocol = {
        "name": "made", "corpus": "made", "source": "nobody", "classes": names, "fold_by": "speaker",
        "fold_groups": [], "disjoint": ["speaker"], "metrics": ["ua", "wa"], "joint": None,
    }  # fmt: skip
    feature = {"name": "logmel", "encoder": "logmel", "dimension": 78, "fingerprint": {"bands": 26}}
    run = {
        "model": "none", "seeds": seeds, "protocol": protocol, "features": {"audio": feature},
        "settings": {"steps": 50, "epochs": 0.0, "lr": 0.001}, "standardised": ["audio"], "manifest": "abc",
    }  # fmt: skip
    provenance = {"corpus_options": ["--root", "a folder"], "encoder_options": []}
    command = ["fit", "--store", "a store.h5", "--model", "none"]
    return {
        "run": run, "stores": {"made": "a store.h5"}, "provenance": {"audio": provenance},
        "calls": [{"command": command, "device": "cpu", "threads": 2, "versions": {"torch": "2.8"}}],
    }  # fmt: skip

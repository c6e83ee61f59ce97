"""Checks what `verify` alone recomputes: AUROC, speaker means, and the details of classes, groups and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.disk.run_folder import read_csv
from emofuse.manifests.metrics.scores import mean_and_deviation
from emofuse.train.fitting.scoring.recorded_scores import TOLERANCE, differences
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.runs.finished_run import METRICS, PREDICTIONS, UTTERANCES, Run
from emofuse.train.runs.reporting.scored_predictions import ScoredPredictions, details
from emofuse.train.runs.training.ensemble import ensemble_scores


def detail_problems(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Where the metrics of a run without other problems differ from its predictions.csv and utterances.csv.

    What a run of an earlier version does not record is not compared.
    """
    if not (folder / UTTERANCES).exists():  # of version 0.1.0
        return []
    utterances = {row["id"]: row for row in read_csv(folder / UTTERANCES)}
    by_seed: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(folder / PREDICTIONS):
        by_seed.setdefault(row.get("seed", ""), []).append(row)
    problems, seeds = list[str](), []
    for seed, rows in by_seed.items():
        seeds.append(ScoredPredictions.read(target_of(metrics), rows, [utterances[row["id"]] for row in rows]))
        recorded = metrics["per_seed"][seed] if seed else metrics
        problems += _score_problems(recorded, seeds[-1], [row["fold"] for row in rows], f"seed {seed}, " * bool(seed))
    for key, expected in details(seeds).items():
        problems += _mismatches(metrics[key], expected, f"{METRICS}: {key}") if key in metrics else []
    if "ensemble" in metrics:
        found = ensemble_scores(Run(folder=folder, metrics=dict(metrics)))
        del found["interval"]
        problems += _mismatches(metrics["ensemble"], found, f"{METRICS}: ensemble")
    return problems


def _score_problems(
    recorded: Mapping[str, Any], scored: ScoredPredictions, fold_of: list[str], where: str
) -> list[str]:
    """Wrong scores of one seed: of each fold where they are recorded, their mean, and all predictions pooled."""
    numbers = np.array(fold_of)
    folds = {fold: scored.where(numbers == fold).values() for fold in dict.fromkeys(fold_of)}
    problems = differences(recorded["pooled"], scored.values(), f"{where}pooled")
    problems += differences(recorded["mean"], mean_and_deviation(list(folds.values()))[0], f"{where}mean")
    for fold in recorded.get("folds", []):
        problems += differences(fold["test"], folds[str(fold["fold"])], f"{where}fold {fold['fold']}")
    return problems


def _mismatches(recorded: Any, expected: Any, where: str) -> list[str]:
    """Where two JSON values differ; keys that only one of two objects has are not compared."""
    if isinstance(recorded, Mapping) and isinstance(expected, Mapping):
        both = [key for key in expected if key in recorded]
        return [problem for key in both for problem in _mismatches(recorded[key], expected[key], f"{where}.{key}")]
    if isinstance(recorded, list) and isinstance(expected, list) and len(recorded) == len(expected):
        pairs = enumerate(zip(recorded, expected, strict=True))
        return [problem for i, pair in pairs for problem in _mismatches(*pair, f"{where}[{i}]")]
    numbers = all(isinstance(value, int | float) for value in (recorded, expected))
    equal = abs(recorded - expected) <= TOLERANCE if numbers else recorded == expected
    return [] if equal else [f"{where} is {str(recorded)[:60]}, the predictions give {str(expected)[:60]}"]

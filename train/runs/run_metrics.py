"""The content of metrics.json: the scores of a run over its folds, and of several runs over their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics import (
    LEVEL,
    METRICS,
    RESAMPLES,
    confusion,
    intervals,
    mean_and_deviation,
    recalls,
    scores,
)
from emofuse.manifests.resampling import resampling_units
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.leak_report import shared_with_training
from emofuse.train.runs.utterance_table import utterance_rows


def over_folds(
    plan: FitPlan, results: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """metrics.json of one seed: each fold, mean and deviation over folds, and all test predictions pooled.

    Args:
        results: The content of result.json of each fold.
        predictions: The rows of predictions.csv of all folds.
    """
    classes = plan.protocol.classes
    labels, predicted = (_class_indices(plan, predictions, column) for column in ("label", "prediction"))
    matrix = confusion(labels, predicted, len(classes))
    mean, deviation = mean_and_deviation([r["test"] for r in results])
    metrics = {
        "protocol": plan.protocol.name,
        "model": plan.title,
        "seed": plan.config.seed,
        "classes": list(classes),
        "metrics": list(plan.protocol.metrics),
        "definitions": METRICS,
        "reduced": plan.reduced(),
        "folds": list(results),
        "mean": mean,
        "std": deviation,
        "pooled": scores(labels, predicted),
        "interval": _interval(plan, labels, predicted, [r["id"] for r in predictions]),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
        **shared_with_training(plan, [r["id"] for r in predictions], labels, predicted),
    }
    if plan.config.limit:
        metrics["limit"] = plan.config.limit
    if plan.config.shuffle:
        metrics["shuffled"] = list(plan.config.shuffle)
    if plan.config.score_without:
        metrics["without"] = {m: _mean_and_std([r["without"][m] for r in results]) for m in plan.config.score_without}
    if plan.config.optimism:
        best = [{name: r["optimistic"][name] for name in mean} for r in results]
        metrics["optimistic"] = {
            "warning": "checkpoint chosen on test: never a score",
            "mean": mean_and_deviation(best)[0],
        }
    return metrics


def over_seeds(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """metrics.json of several seeds: mean and deviation over seeds of each seed's mean over folds.

    Args:
        runs: Seed -> the content of its metrics.json.
    """
    first = next(iter(runs.values()))
    mean, deviation = mean_and_deviation([r["mean"] for r in runs.values()])
    pooled, pooled_deviation = mean_and_deviation([r["pooled"] for r in runs.values()])
    return {key: first[key] for key in ("protocol", "model", "classes", "metrics", "definitions")} | {
        "seeds": list(runs),
        "per_seed": {
            str(seed): {
                "mean": r["mean"],
                "pooled": r["pooled"],
                "one_class_folds": [f["fold"] for f in r["folds"] if f["predicts_only"]],
            }
            for seed, r in runs.items()
        },
        "mean": mean,
        "std": deviation,
        "pooled": pooled,
        "pooled_std": pooled_deviation,
        **_optional_keys(first, runs),
        "wall_seconds": round(sum(r["wall_seconds"] for r in runs.values()), 1),
    }


def _optional_keys(first: Mapping[str, Any], runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The keys that only some runs have: the limit, what was shuffled, and the scores with a modality absent."""
    found: dict[str, Any] = {key: first[key] for key in ("limit", "shuffled") if key in first}
    if "without" in first:
        found["without"] = {
            m: _mean_and_std([r["without"][m]["mean"] for r in runs.values()]) for m in first["without"]
        }
    return found


def pooled_over_seeds(plan: FitPlan, predictions: Mapping[int, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """What the pooled predictions of all seeds give: interval, recalls and the sum of the confusion matrices.

    Args:
        predictions: Seed -> the rows of its predictions.csv.
    """
    classes, seeds = plan.protocol.classes, list(predictions.values())
    labels = _class_indices(plan, seeds[0], "label")
    predicted = np.array([_class_indices(plan, rows, "prediction") for rows in seeds])
    matrix = sum((confusion(labels, one, len(classes)) for one in predicted), np.zeros((len(classes),) * 2, np.int64))
    return {
        "reduced": plan.reduced(),
        "interval": _interval(plan, labels, predicted, [row["id"] for row in seeds[0]]),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
        **shared_with_training(plan, [row["id"] for row in seeds[0]], labels, predicted),
    }


def _interval(
    plan: FitPlan, labels: NDArray[np.int64], predicted: NDArray[np.int64], ids: Sequence[str]
) -> dict[str, Any]:
    """Confidence intervals; predictions are [n], or [seeds, n]."""
    units = resampling_units(asdict(plan.protocol), utterance_rows(plan.protocol, plan.utterances, ids))
    return {
        "level": LEVEL,
        "of": "pooled" if predicted.ndim == 1 else "pooled, mean over seeds",
        "unit": units.kind,
        "units": units.count,
        "inner_unit": units.inner_kind,
        "trusted": units.trusted,
        "method": f"percentile bootstrap, {RESAMPLES} resamples of {units.description}",
        **intervals(labels, predicted, len(plan.protocol.classes), units),
    }


def _class_indices(plan: FitPlan, predictions: Sequence[Mapping[str, str]], column: str) -> NDArray[np.int64]:
    index = {c: i for i, c in enumerate(plan.protocol.classes)}
    return np.array([index[row[column]] for row in predictions], np.int64)


def _mean_and_std(values: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return dict(zip(("mean", "std"), mean_and_deviation(values), strict=True))
